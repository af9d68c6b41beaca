"""What a reader can mend is said in one line: `UserError`."""


class UserError(Exception):
    """Bad input or a missing resource, said in one clear line; the command line prints it and exits 2, and a notebook
    shows it under its cell instead of a traceback (IPython asks for `_render_traceback_`; `%debug` still works)."""

    def _render_traceback_(self):
        import traceback

        frames = traceback.extract_tb(self.__traceback__)
        own = [f.lineno for f in frames if "ipykernel_" in f.filename or "ipython-input" in f.filename]  # a cell's
        return [f"Error in line {own[-1]} of the cell: {self}" if own else f"Error: {self}"]
