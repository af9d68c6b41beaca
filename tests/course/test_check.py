"""The check of a reader's numbers: what agrees, what moved, what failed, and that nothing hides what comes after it."""

import base64
import io
import json
import os

import nbformat
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("nbclient", reason="neither the study nor the test extra is installed")
from helpers.course import check, report
from helpers.course.claims import Card, interval
from helpers.course.kernel import execute


def shown(thing, **more):
    """The output that a kernel makes of a card, or of a text and its other forms."""
    data = {"text/plain": repr(thing) if isinstance(thing, Card) else thing} | more
    if isinstance(thing, Card):
        data |= thing._repr_mimebundle_() | {"text/html": thing._repr_html_()}
    return nbformat.v4.new_output("display_data", data=data)


def printed(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


def card(sentence, value, low=0.5, digits=3):
    return Card(sentence, interval(value), low, None, "", digits)


def picture(dark):
    """A white page, the left `dark` of its 96 columns black, as an output holds it."""
    pixels = np.full((96, 96), 255, np.uint8)
    pixels[:, :dark] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return {"image/png": base64.b64encode(file.getvalue()).decode()}


def told(stored, new, *tags):
    """(what, where, stored, now, allowed) of each difference."""
    return [tuple(one.values()) for one in check.differences(stored, new, set(tags))]


# ------------------------------------------------------------------ outputs of one cell


def test_a_number_outside_its_tolerance_is_told_with_its_line():
    old, new = [printed("loss 0.5\naccuracy 0.81 of 30\n")], [printed("loss 0.5\naccuracy 0.86 of 30\n")]
    assert told(old, new) == [("number", "accuracy 0.81 of 30", 0.81, 0.86, pytest.approx(0.86e-3))]
    assert told(old, new, "nbval-atol=0.05") == [] and told(old, old) == []


def test_words_are_told_by_the_first_line_in_which_they_differ():
    old, new = [printed("a 0.5\n12 of 30\nend")], [printed("a 0.6\n13 of 30\nend")]
    assert told(old, new) == [("words", "", "12 of 30", "13 of 30", None)]
    assert told([printed("a\nb")], [printed("a\nb\nc")]) == [("words", "", "", "c", None)]


def test_a_table_is_told_once_though_it_has_two_forms():
    html = "<table><tr><td>{}</td><td>{}</td></tr></table>"
    old, new = (
        shown(f"way  {a}  {b}", **{"text/html": html.format(a, b)}) for a, b in (("0.10", "2.5"), ("0.40", "2.5"))
    )
    assert told([old], [new]) == [("number", "way  0.10  2.5", 0.1, 0.4, pytest.approx(0.4e-3))]
    only = shown("way  0.10  2.5", **{"text/html": html.format("0.10", "3.5")})
    assert told([old], [only]) == [("number", html.format("0.10", "2.5"), 2.5, 3.5, pytest.approx(3.5e-3))]


def test_two_numbers_of_one_form_are_both_told():
    assert len(told([printed("0.12 and 0.13")], [printed("0.15 and 0.16")])) == 2


def test_the_numbers_of_a_claim_are_told_under_its_sentence_and_once():
    old, new = shown(card("It is enough", 0.75123)), shown(card("It is enough", 0.80456))
    assert told([old], [new]) == [("number", "It is enough", 0.75123, 0.80456, pytest.approx(0.80456e-3))]
    old, new = (shown(card("So are they", values)) for values in ([0.7, 0.8, 0.9], [0.7, 0.8, 0.95]))
    assert [(stored, now) for *_, stored, now, _ in told([old], [new])] == [
        (0.8, 0.81667),
        (0.55159, 0.50409),  # scipy.stats.ttest_1samp(...).confidence_interval()
        (1.04841, 1.12925),
    ]
    old, fails = shown(card("It is enough", 0.8)), shown(card("It is enough", 0.4))
    assert told([old], [fails]) == [], "the list of claims tells it"


def test_pictures_are_compared_by_their_ink():
    old, near, far = (shown("<Figure>", **picture(dark)) for dark in (48, 51, 72))
    assert told([old], [near]) == []
    assert told([old], [far]) == [("picture", "", "", "differs in 0.333 of its ink", 0.2)]  # 24 of 72 columns
    assert told([old], [far], "nbval-picture=0.4") == []


def test_an_output_more_or_less_moves_no_other():
    a, b = printed("first 0.5\n"), shown("x 0.25")
    warned = printed("UserWarning: old\n", "stderr")
    assert told([a, b], [a, warned, b]) == [("words", "", "nothing", "stderr: UserWarning: old", None)]
    assert told([a, warned, b], [a, shown("x 0.35")]) == [
        ("words", "", "stderr: UserWarning: old", "nothing", None),
        ("number", "x 0.25", 0.25, 0.35, pytest.approx(0.35e-3)),
    ]
    assert told([a], [shown("<Figure>", **picture(3))]) == [("words", "", "stdout: first 0.5", "a picture", None)]


def test_claims_of_a_cell_are_paired_by_their_sentences():
    book = [shown(card(f"{name} is enough", 0.8)) for name in "ABC"]
    here = [shown(card("A is enough", 0.4)), shown(card("C is enough", [0.6, 0.7, 0.8], low=0.4))]
    found = check.claims(book, here)
    assert [(one["sentence"][0], one["verdict"]) for one in found] == [
        ("A", "does not hold"),
        ("B", "missing"),
        ("C", "holds"),
    ]
    assert found[0]["here"]["shown"] == "0.400" and found[0]["book"] == found[1]["book"] == found[2]["book"]
    assert found[1]["here"] is None and found[1]["bound"] == "at least 0.500"
    assert found[2]["here"]["shown"] == "0.700 (0.452 to 0.948, n = 3)" and found[2]["here"]["n"] == 3
    (extra,) = check.claims([], [shown(card("New", 0.9))])
    assert extra["book"] is None and extra["verdict"] == "holds"


def test_a_claim_whose_sentence_holds_a_number_is_still_the_same_claim():
    (one,) = check.claims([shown(card("At 0.25 it is enough", 0.8))], [shown(card("At 0.31 it is enough", 0.8))])
    assert one["verdict"] == "holds" and one["sentence"] == "At 0.31 it is enough" and one["book"]
    (one,) = check.claims([shown(card("The 3 best are enough", 0.8))], [shown(card("The 4 best are enough", 0.8))])
    assert one["verdict"] == "holds" and one["book"]


# ------------------------------------------------------------------ notebooks

START = "from helpers.course.claims import claim, table\nimport os"
FIRST, LAST = "claim('Still so', 1, at_least=1)", "claim('The last of <them> & more', 3, at_least=1)"
CELLS = {  # the cell as it was stored: what is run instead
    START: START,
    "# a comment\nprint('accuracy', 0.81)": "# a comment\nprint('accuracy', 0.86)",
    f"{FIRST}\nclaim('Not so', 2, at_least=1)\n{LAST}": f"{FIRST}\nclaim('Not so', 0, at_least=1)\n{LAST}",
    "claim('Reached', 1, at_least=1)\nclaim('Out of reach', 1, at_least=1)": (
        "claim('Reached', 1, at_least=1)\nraise ValueError(os.getcwd() + '/secret.txt')"
    ),
    "claim('After the error', 1, at_least=1)": "claim('After the error', 1, at_least=1)",
    "raise KeyError('meant')": "raise KeyError('meant')",
    "print('whatever 1')": "print('whatever 2')",
    "print(os.environ['COURSE_SCALE'], os.environ['ACCELERATE_USE_CPU'])": (
        "print(os.environ['COURSE_SCALE'], os.environ['ACCELERATE_USE_CPU'])"
    ),
}
TAGS = {"raise KeyError('meant')": ["raises-exception"], "print('whatever 1')": ["nbval-ignore-output"]}
DIES = "import os; os._exit(1)"


def write(path, cells):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# The title <i>"), *cells])
    nbformat.write(nb, path)


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    """A notebook that agrees with what it stores, and one whose code was changed since."""
    folder = tmp_path_factory.mktemp("notebooks")
    cells = [nbformat.v4.new_code_cell(source, metadata={"tags": TAGS.get(source, [])}) for source in CELLS]
    write(folder / "01_same.ipynb", cells)
    ran = execute(folder / "01_same.ipynb", {"COURSE_SCALE": "small", "ACCELERATE_USE_CPU": "true"}).notebook
    ran.metadata.language_info = {"name": "python"}
    ran.metadata.verified = {
        "date": "2020-02-02",
        "seconds": 3,
        "cores": 2,
        "versions": {"Python": "3.0", "torch": "1"},
    }
    nbformat.write(ran, folder / "01_same.ipynb")
    for cell in ran.cells[1:]:
        cell.source = CELLS[cell.source]
    ran.metadata.language_info = {"name": "python", "version": "3.0", "mimetype": "text/x-python"}
    nbformat.write(ran, folder / "02_other.ipynb")
    ran.cells[2].source = DIES
    nbformat.write(ran, folder / "03_dies.ipynb")
    return folder


@pytest.fixture(scope="module")
def found(notebooks, tmp_path_factory):
    """(facts, the folder, what was logged) of a check of all three, under a scale and a mode that do not count."""
    out, lines = tmp_path_factory.mktemp("out"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_SCALE", "tiny")
        patch.setenv("COURSE_CLAIMS", "raise")
        patch.setenv("ACCELERATE_USE_CPU", "false")
        paths = sorted(notebooks.glob("*.ipynb"))
        *_, facts = check.check(paths, out, lines.append)
    return facts, out, lines


def test_what_agrees_is_told_as_such(found):
    same = found[0]["lectures"][0]
    assert (same["name"], same["title"], same["saved_elsewhere"]) == ("01_same", "The title <i>", False)
    assert [one["verdict"] for one in same["claims"]] == ["holds"] * 6
    assert same["differences"] == same["raised"] == [] and same["unfinished"] is None
    assert report.holds(report.counts([same]))
    assert same["book"] == {"date": "2020-02-02", "seconds": 3, "cores": 2, "versions": {"Python": "3.0", "torch": "1"}}


def test_a_claim_that_fails_and_a_cell_that_raises_hide_nothing(found):
    other = found[0]["lectures"][1]
    assert [(one["cell"], one["sentence"], one["verdict"]) for one in other["claims"]] == [
        (3, "Still so", "holds"),
        (3, "Not so", "does not hold"),
        (3, "The last of <them> & more", "holds"),
        (4, "Reached", "holds"),
        (4, "Out of reach", "missing"),
        (5, "After the error", "holds"),
    ]
    assert other["claims"][1]["here"]["shown"] == "0.000" and other["claims"][1]["book"]["shown"] == "2.000"
    assert [(d["cell"], d["code"], d["stored"], d["now"]) for d in other["differences"]] == [
        (2, "print('accuracy', 0.86)", 0.81, 0.86)
    ]
    (raised,) = other["raised"]
    assert raised["cell"] == 4 and raised["error"] == "ValueError: …/secret.txt"
    assert other["saved_elsewhere"], "JupyterLab stores more of the language than `make notebooks`"


def test_a_kernel_that_dies_ends_its_lecture_only(found):
    died = found[0]["lectures"][2]
    assert died["unfinished"] == {"cell": 2, "code": DIES, "why": "the kernel died (out of memory?)"}
    assert [one["verdict"] for one in died["claims"]] == ["missing"] * 6 and died["differences"] == []


def test_the_sums_and_the_sentence(found):
    facts, _, lines = found
    assert facts["counts"] == {
        "lectures": 3,
        "claims": 18,
        "holds": 10,
        "does not hold": 1,
        "missing": 7,
        "number": 1,
        "words": 0,
        "picture": 0,
        "raised": 1,
        "unfinished": 1,
    }
    assert facts["holds"] is False and facts["left"] == []
    assert facts["command"] == "python -m helpers check 01_same 02_other 03_dies"
    assert lines[0] == "1 of 3: 01_same, 3 s when its outputs were stored"
    assert lines[1].startswith("  all 6 claims hold, 0 numbers outside tolerance (")


def test_versions_stand_beside_those_of_the_book(found):
    known = found[0]["versions"]
    assert known["torch"]["book"] == "1" and known["torch"]["differs"], "the stamp's"
    assert known["Python"]["book"] == "3.0" and known["Python"]["differs"]
    assert known["scipy"]["book"] and known["scipy"]["book"] != "1", "the tested set's, where the stamp has none"


def test_the_files_hold_the_facts_in_strict_json_and_no_machines_names(found, notebooks):
    facts, out, _ = found
    text = (out / "check.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) == facts
    page = (out / "check.html").read_text(encoding="utf-8")
    assert page == report.page(facts) and sorted(os.listdir(out)) == ["check.html", "check.json"]
    for place in (str(notebooks), str(out), str(check.machine.ROOT), os.path.expanduser("~/"), "/tmp/"):
        assert place not in text and place not in page


def test_after_each_lecture_the_files_tell_the_lectures_so_far(notebooks, tmp_path, monkeypatch):
    paths = sorted(notebooks.glob("*.ipynb"))
    monkeypatch.setattr(check, "run", lambda path, length: (0, "not run here", 0.0, []))
    for number, facts in enumerate(check.check(paths, tmp_path, str), 1):
        stored = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
        assert stored == facts and len(stored["lectures"]) == number
        assert stored["left"] == [path.stem for path in paths[number:]]
        assert all(name in (tmp_path / "check.html").read_text(encoding="utf-8") for name in stored["left"])


def test_a_kernel_that_does_not_start_is_reported(notebooks, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("Kernel died before replying to kernel_info\nmore")

    monkeypatch.setattr(check, "execute", broken)
    one = check.lecture(notebooks / "01_same.ipynb")
    assert one["unfinished"]["why"] == "the kernel did not start: Kernel died before replying to kernel_info"
    assert {claim["verdict"] for claim in one["claims"]} == {"missing"} and one["differences"] == []
