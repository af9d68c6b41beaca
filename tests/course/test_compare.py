"""The comparison that every notebook is tested with: what must pass, and what must not."""

import base64
import io

import nbformat
import pytest

from conftest import Output
from helpers.course.compare import differences, displays, moved, numbers, parts, picture_differences


@pytest.mark.parametrize(
    "text, found",
    [
        ("accuracy 0.912 of 300", [0.912]),  # whole numbers are compared as text
        ("torch 2.14.1, python 3.11.7", []),  # versions too
        ("#4e9000 B4E9 x1.5 v2.0", []),  # colours and names
        ("1e-5, -2.5E+3 and .5", [1e-5, -2500.0, 0.5]),
        ("0.1-0.2, [-0.5, 0.5], −0.25", [0.1, 0.2, -0.5, 0.5, -0.25]),
        ("ends in 0.5.", [0.5]),
        ('<td style="width: 93.4%">0.5</td>', [0.5]),  # no unit glued on: % is not a word, so 93.4 counts
    ],
)
def test_what_counts_as_a_decimal(text, found):
    if "%" in text:
        found = [93.4, *found]
    assert [value for value, _ in numbers(text)] == found


@pytest.mark.parametrize(
    "stored, new",
    [
        ("loss 0.500 acc 0.90", "loss 0.5004 acc 0.90"),
        ("0.123", "0.124"),  # rounding of 0.1235
        ("[[ 0.50 -0.25]]", "[[-0.00 -0.25]]".replace("-0.00", "0.5003")),
        ("x   0.500\ny -0.001", "x 0.500\ny 0.000"),  # a sign moves the column
        ("nan 1.0", "nan 1.0"),
    ],
)
def test_passes(stored, new):
    assert differences(stored, new, rtol=1e-3, atol=1e-6) == []
    assert not (Output(stored, 1e-3, 1e-6) != Output(new, 1e-3, 1e-6))


@pytest.mark.parametrize(
    "stored, new",
    [
        ("0.50", "0.51"),  # two places: no unit of grace
        ("0.5000", "0.5100"),
        ("27 of 30", "28 of 30"),
        ("2.14.1", "2.14.2"),
        ("nan", "0.5"),
        ("0.5", "nan"),
        ("inf", "0.5"),
        ("0.5", "inf"),
        ("0.5", "0.5 0.5"),
        ("0.5 0.5", "0.5"),  # counts of numbers
        ("0.5", "1"),
        ("1", "1.0"),
        ("ab c 0.5", "a bc 0.5"),
        ("line 0.5\nline", "line 0.5 line"),
        ('<b class="a">0.5</b>', '<b class="b">0.5</b>'),
        ("1e-5", "1e-4"),
        ("1e400", "1.0"),
    ],
)
def test_fails(stored, new):
    assert differences(stored, new, rtol=1e-3, atol=1e-6)
    assert Output(stored, 1e-3, 1e-6) != Output(new, 1e-3, 1e-6)


def test_a_failure_names_the_number():
    reasons = differences("a 0.10 b 0.50", "a 0.10 b 0.62", rtol=1e-3, atol=0.05)
    assert reasons == ["decimal 2: stored 0.5, now 0.62, differs by 0.12, allowed 0.05"]


def picture(draw, size=(320, 200)):
    from PIL import Image, ImageDraw

    image = Image.new("RGB", size, "white")
    draw(ImageDraw.Draw(image))
    out = io.BytesIO()
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def test_pictures():
    def curve(shift, axes=True, line=True):
        def draw(d):
            if axes:
                d.rectangle((10, 10, 310, 190), outline="black")
            if line:
                d.line([(15, 20 + shift), (100, 150 + shift), (305, 180 + shift)], "black", 3)

        return picture(draw)

    assert picture_differences(curve(0), curve(1), 0.2) == []  # a training curve a hair lower
    assert "ink" in picture_differences(curve(0), curve(0, line=False), 0.2)[0]
    assert picture_differences(curve(0), curve(0, False, False), 0.2)  # nothing at all
    assert picture_differences(curve(0, False, False), curve(0), 0.2)
    other = picture(lambda d: None, (320, 150))
    assert "320 x 200" in picture_differences(curve(0), other, 0.2)[0]
    stored = Output(curve(0), picture=0.2)
    assert stored == Output(curve(0), picture=0.2)
    assert stored != Output(curve(0, line=False), picture=0.2)


def out(kind, **more):
    return nbformat.v4.new_output(kind, **more)


def test_what_a_cell_shows_is_split_into_displays_and_their_forms():
    shown = [
        out("stream", name="stdout", text="one "),
        out("display_data", data={"text/plain": "", "text/html": ""}),  # a progress bar that has ended
        out("stream", name="stdout", text=["two\n"]),
        out("stream", name="stderr", text="three\n"),
        out(
            "execute_result",
            data={"text/plain": ["a ", "b"], "text/html": "<i>a b</i>", "application/vnd.jupyter.widget-view+json": {}},
        ),
        out("display_data", data={"application/x+json": {"b": 1, "a": 0.5}}),
        out("display_data", data={"application/vnd.jupyter.widget-view+json": {"model": 1}}),
        out("error", ename="ValueError", evalue="no", traceback=["long"]),
    ]
    assert displays(shown) == [
        [("stdout", "one two\n")],
        [("stderr", "three\n")],
        [("text/html", "<i>a b</i>"), ("text/plain", "a b")],
        [("application/x+json", '{"a": 0.5, "b": 1}')],
        [("error", "ValueError: no")],
    ]
    assert parts(shown) == [form for forms in displays(shown) for form in forms]


def test_what_moved_is_told_with_its_place_and_what_it_may():
    assert moved("a 0.50, b 0.250, c 2.0", "a 0.50, b 0.300, c 2.1", rtol=1e-3, atol=0.06) == [(3, 2.0, 2.1, 0.1, 0.06)]
    assert moved("a 0.50", "a 0.50") == []
