"""How much work a notebook does: `COURSE_SCALE`."""

import os

from helpers.course.errors import UserError


def scale():
    """How much work the notebooks do: "small" (two CPU cores, minutes) or "full" (`COURSE_SCALE=full`, a GPU)."""
    value = os.environ.get("COURSE_SCALE", "small")
    if value not in ("small", "full"):
        raise UserError(f"COURSE_SCALE is {value!r}; set it to small or full")
    return value
