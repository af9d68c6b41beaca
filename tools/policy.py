"""Which cards and tables of the stored notebooks do not follow the policy that `book/howto.md` tells readers.

    python -m tools.policy [PATH...]     list them by lecture, with the number of each kind

cards     more than 15 cards in a lecture; an appendix (`appendix_*.ipynb`) may have any number
seeds     a sentence that says helps, hurts, beats, better, worse, gains, loses or costs, with an interval over fewer
          than five seeds, folds or units
bounds    the interval of a bounded score leaves its bounds: those that its card names, or else 0 and 1 where the
          sentence speaks of an accuracy, a share and so on; in a table, a column whose means all lie between 0 and 1
margins   an equivalence, which is a bound on both sides of zero, that does not state its margin (`margin=`)

Sentences and columns are told by their words, so a finding can be wrong. `claim(..., bounds=...)` and
`table(..., bounds=...)` say what a score's bounds are, and end the guessing.
"""

import json
import re
import sys
from collections import Counter
from html import unescape
from pathlib import Path
from typing import NamedTuple

from helpers.course.claims import MIME
from helpers.course.intervals import FEWEST
from helpers.course.lectures import appendix
from helpers.course.ledger import joined

ROOT = Path(__file__).parents[1]
MOST = 15  # cards of a lecture
KINDS = ("cards", "seeds", "bounds", "margins")
EFFECT = re.compile(r"\b(helps?|hurts?|beats?|better|worse|gains?|loses?|costs?)\b", re.I)
SCORE = re.compile(r"\b(accuracy|auc|(?-i:mAP)\w*|precision|recall|share|f1|bleu)\b", re.I)
DIFFERENCE = re.compile(r"\b(differences?|gains?|gained|lost|loss|change|minus|skill|lose[sd]?)\b", re.I)
ENDS = re.compile(r"\[(-?[\d.]+), (-?[\d.]+)\]")


class Finding(NamedTuple):
    """One thing that does not follow the policy; `count` is more than one for cards above the limit."""

    kind: str
    text: str
    count: int = 1


def findings(notebook, name=""):
    """All findings in the stored outputs of `notebook` (the parsed JSON of an .ipynb), in order."""
    found, cards = [], 0
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if MIME in data:
                cards += 1
                found += of_card(data[MIME])
            html = joined(data.get("text/html", ""))
            if 'class="measured"' in html and "bounds=" not in joined(cell["source"]):  # else `table` has seen to it
                found += of_table(html)
    if cards > MOST and not appendix(name):
        found.insert(0, Finding("cards", f"{cards} cards, {MOST} are the most", cards - MOST))
    return found


def of_card(facts):
    """The findings of one card, from the facts that the ledger reads."""
    sentence, low, high, n = (facts[key] for key in ("sentence", "low", "high", "n"))
    if not n or low == high:  # one number was measured
        return
    if n < FEWEST and EFFECT.search(sentence):
        yield Finding("seeds", f"n = {n}: {sentence}")
    if "bounds" in facts:
        least, most = facts["bounds"]
    else:
        guess = SCORE.search(sentence) and not DIFFERENCE.search(sentence) and 0 <= facts["value"] <= 1
        least, most = (0, 1) if guess and not facts["unit"] else (None, None)
    if (least is not None and low < least) or (most is not None and high > most):
        yield Finding("bounds", f"{low} to {high}: {sentence}")
    two = re.match(r"between (-[\d.]+)\D* and ([\d.]+)", facts["bound"])
    if two and float(two[2]) > 0 and "margin" not in facts:
        yield Finding("margins", f"{facts['bound']}: {sentence}")


def of_table(html):
    """One finding for each column of a table that seems to hold bounded scores and has an interval beyond 0 or 1."""
    head = [unescape(name) for name in re.findall(r'<th scope="col"[^>]*>(.*?)</th>', html)]
    columns = {name: [] for name in head[1:]}
    for row in re.findall(r"<tr>(<th scope=\"row\".*?)</tr>", html):
        name = unescape(re.search(r"<th[^>]*>(.*?)</th>", row)[1])
        for column, cell in zip(head[1:], re.findall(r"<td[^>]*>(.*?)</td>", row)):
            text = re.sub("<[^>]+>", "", cell)
            ends = ENDS.search(text)
            if ends and not DIFFERENCE.search(name):
                columns[column].append((float(text.split()[0]), float(ends[1]), float(ends[2]), text))
    for column, cells in columns.items():
        beyond = [text for _, low, high, text in cells if low < 0 or high > 1]
        if beyond and not DIFFERENCE.search(column) and all(0 <= mean <= 1 for mean, *_ in cells):
            yield Finding("bounds", f"table, column {column!r}: {', '.join(beyond)}")


def counts(found):
    """{kind: how many}, all kinds."""
    total = Counter(dict.fromkeys(KINDS, 0))
    for one in found:
        total[one.kind] += one.count
    return dict(total)


def main(paths=()):
    for path in map(Path, paths or sorted((ROOT / "notebooks").glob("*.ipynb"))):
        found = findings(json.loads(path.read_text(encoding="utf-8")), path.stem)
        print(f"{path.stem}: " + ", ".join(f"{kind} {n}" for kind, n in counts(found).items()))
        for one in found:
            print(f"    {one.kind:<8}{one.text}")


if __name__ == "__main__":
    main(sys.argv[1:])
