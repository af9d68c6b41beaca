"""COURSE_SCALE: one of three, small where it says nothing."""

import pytest

from helpers.course.errors import UserError
from helpers.course.scale import SCALES, at_scale, scale


def test_the_switch(monkeypatch):
    monkeypatch.delenv("COURSE_SCALE", raising=False)
    assert scale() == "small"
    for value, setting in zip(SCALES, (1, 6, 60)):
        monkeypatch.setenv("COURSE_SCALE", value)
        assert scale() == value and at_scale(1, 6, 60) == setting
    monkeypatch.setenv("COURSE_SCALE", "huge")
    with pytest.raises(UserError, match="COURSE_SCALE must be one of tiny, small, full; got 'huge'"):
        scale()
