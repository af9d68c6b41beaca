"""Progress bars: live in JupyterLab and in a terminal, silent in a pipe and under a test.

In a notebook a bar is one display that is updated in place and emptied at the end, so a
cell leaves the same output behind whether it took a second or an hour. Bars nest: an outer
loop over seeds and the training inside it share that one display.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from html import escape
from importlib import import_module
from time import monotonic
from typing import Any, TypeVar

T = TypeVar("T")

_EMPTY = {"text/html": "", "text/plain": ""}
_open: list["Bar"] = []  # the bars that are running now, outermost first
# the display of the cell that is running now, and whether something stands in it or in the terminal's line
_cell: dict[str, Any] = {"id": None, "handle": None, "shown": False}


def _kernel_display():
    """The display handle of the running notebook cell (made on first use), or None outside a kernel."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    shell = get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    cell = shell.kernel.get_parent("shell").get("header", {}).get("msg_id")
    if cell != _cell["id"]:
        from IPython.display import display

        _cell.update(id=cell, handle=display(_EMPTY, raw=True, display_id=True))
    return _cell["handle"]


def clock(seconds: float) -> str:
    """`75` -> `1:15`: seconds for people."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Bar:
    """One bar of `total` steps. `update(done, note)` costs a clock reading unless it is time to redraw."""

    def __init__(self, label: str, total: int, every: float = 0.2):
        self.label, self.total, self.every = label, total, every
        self.done, self.note, self.start, self.drawn = 0, "", monotonic(), 0.0
        self.first = 0  # steps that were done before (a resumed run): they took no time now

    def update(self, done: int, note: str | None = None) -> None:
        """Say that `done` steps are done; `note` (kept until the next one) stands behind the count."""
        self.done, self.note = done, self.note if note is None else note
        now = monotonic()
        if now - self.drawn >= self.every:
            self.drawn = now
            self._draw(now)

    def text(self, now: float) -> str:
        """`label 12/80, 0:41 left, note`"""
        passed = max(self.done - self.first, 0)
        left = f", {clock((now - self.start) / passed * (self.total - self.done))} left" if passed else ""
        return f"{self.label} {self.done}/{self.total}{left}{', ' + self.note if self.note else ''}".strip()

    def _draw(self, now):
        if os.environ.get("DLM_PROGRESS") == "0":
            return
        lines = [(bar.text(now), bar) for bar in _open]
        _cell["shown"] = True
        handle = _kernel_display()
        if handle is not None:
            rows = "<br>".join(
                f'<label>{escape(text)} <progress max="{bar.total}" value="{bar.done}"></progress></label>'
                for text, bar in lines
            )
            handle.update({"text/plain": "; ".join(t for t, _ in lines), "text/html": rows}, raw=True)
        elif sys.stderr.isatty():
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            print("\r\033[K" + " | ".join(t for t, _ in lines)[: columns - 1], end="", file=sys.stderr, flush=True)


@contextmanager
def bar(label: str, total: int) -> Iterator[Bar]:
    """A `Bar` for the length of a `with` block; it disappears at the end, also after an error."""
    one = Bar(label, total)
    _open.append(one)
    try:
        yield one
    finally:
        _open.remove(one)
        if not _open and _cell["shown"]:
            _cell["shown"] = False
            handle = _kernel_display()
            if handle is not None:
                handle.update(_EMPTY, raw=True)
            elif sys.stderr.isatty():
                print("\r\033[K", end="", file=sys.stderr, flush=True)


def track(iterable: Iterable[T], label: str = "", total: int | None = None) -> Iterator[T]:
    """Yield from `iterable` under a bar. `total` is needed where `len(iterable)` does not exist."""
    total = len(iterable) if total is None else total  # type: ignore[arg-type]
    with bar(label, total) as one:
        for done, item in enumerate(iterable, 1):
            yield item
            one.update(done)


def load(*modules: str) -> None:
    """Import them under a bar: just after a machine has started that takes a while."""
    with bar("loading", len(modules)) as one:
        for done, name in enumerate(modules):
            one.update(done, name)
            import_module(name)
