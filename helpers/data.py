"""The data catalogue: every data set and weight file, where it comes from, and how it is checked."""


class UserError(Exception):
    """Bad input or a missing resource, said in one clear line; the command line prints it and exits 2."""
