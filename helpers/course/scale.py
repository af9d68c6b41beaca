"""How much work a notebook does: `COURSE_SCALE`.

tiny   seconds: every cell runs, no number means anything; for tests
small  minutes on two CPU cores: what the book shows and the tests compare; the default
full   the same cells on the full data, for a GPU
"""

import os
from typing import Literal, TypeVar, cast

from helpers.course.errors import UserError

Scale = Literal["tiny", "small", "full"]
SCALES: tuple[Scale, ...] = ("tiny", "small", "full")
T = TypeVar("T")


def scale() -> Scale:
    """The scale that `COURSE_SCALE` asks for; "small" where it says nothing."""
    value = os.environ.get("COURSE_SCALE", "small")
    if value not in SCALES:
        raise UserError(f"COURSE_SCALE must be one of {', '.join(SCALES)}; got {value!r}")
    return cast(Scale, value)


def at_scale(tiny: T, small: T, full: T) -> T:
    """The one of three settings that belongs to the scale: `epochs = at_scale(1, 6, 60)`."""
    return {"tiny": tiny, "small": small, "full": full}[scale()]
