"""How far do the numbers of a notebook move between machines? What its tolerances are derived from.

    python -m tools.notebooks --spread [PATH...]

runs each notebook under the settings of `tools.elsewhere` and with its training disturbed in the last digits
(`tools.rounding`), compares every decimal and every picture of every cell over these runs and the stored outputs, and
writes results/spread/NAME.json. A cell whose numbers move further than the defaults of `helpers.course.compare` allow
carries a tolerance: at least the spread that was seen, at most `TOO_WIDE` times it. `judge` holds a notebook to that.

The runs lie in _build/spread until the code changes: a measurement that was stopped goes on where it was.
"""

import datetime
import json
import os
import platform
import re
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from math import floor, log10

import nbformat

from helpers.course.check import UNCOMPARED
from helpers.course.compare import DEFAULTS, PICTURES, limit, numbers, parts, skeleton, thumbnail, tolerance
from helpers.course.experiments import versions
from helpers.course.files import write_atomically
from helpers.course.kernel import BOOK, execute
from tools.elsewhere import ONE, ROOT, SETTINGS

DISTURBED = (1, 2, 3)  # seeds of rounding
TOO_WIDE = 10  # a tolerance that many times as large as the spread is blind
MARGIN = 2  # a tolerance that is suggested: so many times the spread, as not all machines have been seen
FOLDER = ROOT / "results" / "spread"
ROOM = ROOT / "_build" / "spread"


def settings():
    """{name of a run: (variables, code that runs before the first cell)}."""
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
    return {name: (variables, "") for name, variables in SETTINGS.items()} | {
        f"disturbed-{seed}": (ONE, f"{path}from tools.rounding import disturb; disturb({seed})") for seed in DISTURBED
    }


def code(notebook):
    """A checksum of what a notebook does: its code cells, and all of `helpers`."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    sources += [path.read_text(encoding="utf-8") for path in sorted((ROOT / "helpers").rglob("*.py"))]
    return zlib.crc32("\0".join(sources).encode())


def one_run(path, name):
    """Run the notebook at `path` under the setting `name`, unless that was done; returns where it lies."""
    known = nbformat.read(path, 4)
    target = ROOM / path.stem / f"{name}-{code(known):08x}.ipynb"
    if not target.exists():
        variables, before = settings()[name]
        ran = execute(path, BOOK | variables | {"PYTHONPATH": str(ROOT)}, before=before, go_on=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, nbformat.writes(ran.notebook).encode())
    return target


def of_cell(outputs):
    """What moves in a cell, from its outputs in several runs -> the entry of the record, or None where nothing does.

    outputs   {run: [(kind, text)]} as `compare.parts` gives them
    """
    shape = {
        run: [(kind, kind not in PICTURES and skeleton(text)) for kind, text in seen] for run, seen in outputs.items()
    }
    first = next(iter(shape.values()))
    entry = {"shape": shape_of(next(iter(outputs.values())))}
    other = [run for run, what in shape.items() if what != first]
    if other:
        entry["words differ"] = other
    same = [seen for run, seen in outputs.items() if run not in other]
    atol = rtol = picture = 0.0
    moved = []
    for which, part in enumerate(zip(*same)):
        kind = part[0][0]
        if kind in PICTURES:
            marks = [thumbnail(text)[0] for _, text in part]
            for i, a in enumerate(marks):
                for b in marks[:i]:
                    picture = max(picture, sum(abs(x - y) for x, y in zip(a, b)) / max(sum(a), sum(b), 1e-9))
            continue
        for place, column in enumerate(zip(*(numbers(text) for _, text in part)), 1):
            values, unit = [value for value, _ in column], column[0][1]
            low, high = min(values), max(values)
            if high - low > limit(low, high, unit, DEFAULTS["rtol"], DEFAULTS["atol"]) * (1 + 1e-9):
                atol, rtol = max(atol, high - low), max(rtol, (high - low) / max(abs(low), abs(high)))
                moved.append({"part": which, "kind": kind, "place": place, "low": low, "high": high})
    for key, value in (("atol", atol), ("rtol", rtol), ("picture", picture if picture > 0.02 else 0.0)):
        if value:
            entry[key] = float(f"{value:.3g}")
    if moved:
        entry["numbers"] = moved
    return entry if len(entry) > 1 else None


def shape_of(seen):
    """A checksum of the words around a cell's numbers: what was measured belongs to these outputs and no others."""
    return f"{zlib.crc32(repr([(kind, kind in PICTURES or skeleton(text)) for kind, text in seen]).encode()):08x}"


def measure(paths, workers=None):
    """Run all notebooks under all settings and write their records. Yields (path, record) as they are done."""
    names = list(settings())
    waiting = {path: set(names) for path in paths}
    workers = workers or max(1, (os.cpu_count() or 2))
    with ProcessPoolExecutor(workers) as pool:
        runs = {pool.submit(one_run, path, name): (path, name) for path in paths for name in names}
        for count, future in enumerate(as_completed(runs), 1):
            path, name = runs[future]
            future.result()
            print(f"  {count} of {len(runs)}: {path.stem}, {name}", file=sys.stderr, flush=True)
            waiting[path].discard(name)
            if not waiting[path]:
                yield path, record(path, names)


def record(path, names):
    """The record of a notebook from its runs under the settings `names`; written to results/spread."""
    stored = nbformat.read(path, 4)
    notebooks = {"stored": stored} | {name: nbformat.read(one_run(path, name), 4) for name in names}
    cells = {}
    for place, cell in enumerate(stored.cells):
        if cell.cell_type == "code" and not UNCOMPARED & {*cell.metadata.get("tags", [])}:
            outputs = {run: nb.cells[place].outputs for run, nb in notebooks.items()}
            entry = of_cell({run: parts(shown) for run, shown in outputs.items()})
            if entry:
                cells[str(place)] = entry
    made = {
        "notebook": path.name,
        "command": f"python -m tools.notebooks --spread notebooks/{path.name}",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "runs": list(notebooks),
        "cells": cells,
    }
    write_atomically(FOLDER / f"{path.stem}.json", (json.dumps(made, indent=1, ensure_ascii=False) + "\n").encode())
    return made


STEPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def suggested(spread):
    """A tolerance for a spread: MARGIN times it, rounded up to one of `STEPS`."""
    value = MARGIN * spread * (1 - 1e-9)  # what was 0.3 before a subtraction is 0.3
    unit = 10.0 ** floor(log10(value))
    return float(f"{next(step for step in STEPS if step >= value / unit) * unit:.2g}")


def of_rounding(cell, atol):
    """Whether `atol` is for nothing but errors of rounding, of which only the size means something: the differences
    from an oracle, say. Then it is small, and every decimal of the cell is either no larger, or so large that the
    default rtol allows more.
    """
    told = [text for kind, text in parts(cell.outputs) if kind not in (*PICTURES, "text/html")]  # HTML has its widths
    sizes = [abs(x) for text in told for x, _ in numbers(text)]
    return atol <= DEFAULTS["rtol"] and all(size <= atol or size * DEFAULTS["rtol"] >= atol for size in sizes)


def judge(notebook, known):
    """What is wrong with the tolerances of `notebook`, held against the record of its spread: a list of lines."""
    wrong = []
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        tags = [tag for tag in cell.metadata.get("tags", []) if tag.startswith("nbval-")]
        if UNCOMPARED & {*tags}:
            continue
        entry, given = known["cells"].get(str(place), {}), tolerance(tags)
        if entry and entry["shape"] != shape_of(parts(cell.outputs)):
            wrong.append(f"cell {place}: its outputs are others than those measured; measure the spread again")
            continue
        if "words differ" in entry:
            wrong.append(f"cell {place}: its words differ in {', '.join(entry['words differ'])}")
        moved = entry.get("numbers", [])
        tagged = {key for key in DEFAULTS if any(f"nbval-{key}=" in tag for tag in tags)}
        stored = parts(cell.outputs)
        for one in moved:
            now = numbers(stored[one["part"]][1])[one["place"] - 1][0]  # stored since, on another machine say
            low, high = min(one["low"], now), max(one["high"], now)
            size = max(abs(low), abs(high))
            if high - low > max(given["rtol"] * size, given["atol"]) * (1 + 1e-9):  # whichever allows it
                wrong.append(
                    f"cell {place}: decimal {one['place']} of {one['kind']} ranges from {low:g} to {high:g}; "
                    f"nbval-atol={suggested(max(entry['atol'], high - low)):g} "
                    f"or nbval-rtol={suggested(entry['rtol']):g}"
                )
                break
        for key in ("atol", "rtol"):
            if key == "atol" and of_rounding(cell, given[key]):
                continue
            if key in tagged and given[key] > TOO_WIDE * entry.get(key, 0.0):
                fit = f"nbval-{key}={suggested(entry[key]):g} would do" if key in entry else "the defaults would do"
                wrong.append(
                    f"cell {place}: nbval-{key}={given[key]:g} is blind, the spread is {entry.get(key, 0):g}; {fit}"
                )
        need = entry.get("picture", 0.0)
        if need > given["picture"]:
            wrong.append(f"cell {place}: its picture moves by {need:g}; nbval-picture={suggested(need):g}")
        elif "picture" in tagged and need <= DEFAULTS["picture"] / MARGIN:
            wrong.append(
                f"cell {place}: nbval-picture={given['picture']:g} is not needed, its picture moves by {need:g}"
            )
    return wrong


def fit(notebook, known):
    """Give each cell of `notebook` that `judge` complains of the tolerance that its spread asks for, and no other.

    Returns [(cell, tags before, tags after)]. The reason in a cell's first line keeps step with its tag.
    """
    changed = []
    for place, cell in enumerate(notebook.cells):
        one = nbformat.from_dict({"cells": [cell]})
        entry = known["cells"].get(str(place), {})
        if cell.cell_type != "code" or not judge(one, {"cells": {"0": entry}}) or "words differ" in entry:
            continue
        before = list(cell.metadata.get("tags", []))
        after = [tag for tag in before if not tag.startswith("nbval-") or "=" not in tag]
        moved = entry.get("numbers", [])
        if moved:  # the one of the two that allows less
            sizes = [max(abs(one["low"]), abs(one["high"])) for one in moved]
            atol, rtol = suggested(entry["atol"]), suggested(entry["rtol"])
            after.append(f"nbval-rtol={rtol:g}" if rtol * sum(sizes) < atol * len(sizes) else f"nbval-atol={atol:g}")
        if entry.get("picture", 0.0) > DEFAULTS["picture"] / MARGIN:
            after.append(f"nbval-picture={min(suggested(entry['picture']), 1.0):g}")
        cell.metadata["tags"] = after
        first, rest = (cell.source + "\n").split("\n", 1)
        if match := re.match(r"# (nbval-(\w+))=\S+: (.+)", first):
            same = [tag for tag in after if tag.startswith(match[1])]
            tag = (same or [tag for tag in after if tag.startswith("nbval-")] or [""])[0]
            cell.source = (f"# {tag}: {match[3]}\n" if tag else "") + rest.removesuffix("\n")
        changed.append((place, before, after))
    return changed


def report(path, known):
    """Print each number that moves beside its tolerance, and what is wrong; returns how much is."""
    notebook = nbformat.read(path, 4)
    print(f"\n{path.name}: {len(known['runs'])} runs ({', '.join(known['runs'])})")
    for place, entry in known["cells"].items():
        cell = notebook.cells[int(place)]
        given = tolerance(cell.metadata.get("tags", []))
        need = ", ".join(f"{key} {entry[key]:g} (allowed {given[key]:g})" for key in DEFAULTS if key in entry)
        words = f"words differ in {', '.join(entry['words differ'])}" if "words differ" in entry else ""
        print(f"  cell {place}: {need} {words}".rstrip())
        for one in entry.get("numbers", []):
            if one["kind"] not in ("text/html", "application/vnd.dlm.claim+json"):  # the same numbers once more
                print(f"    decimal {one['place']}: from {one['low']:g} to {one['high']:g}")
    wrong = judge(notebook, known)
    for line in wrong:
        print(f"  ! {line}")
    return len(wrong)


def refit(paths):
    """Write the tolerances that the records ask for into the notebooks at `paths`."""
    for path in paths:
        notebook = nbformat.read(path, 4)
        known = json.loads((FOLDER / f"{path.stem}.json").read_text(encoding="utf-8"))
        for place, before, after in fit(notebook, known):
            print(f"{path.name}, cell {place}: {', '.join(before) or 'none'} -> {', '.join(after) or 'none'}")
        write_atomically(path, (nbformat.writes(notebook, version=4).rstrip("\n") + "\n").encode())
    return 0


def main(paths):
    wrong = sum(report(path, known) for path, known in measure(paths))
    print(f"\n{wrong} tolerances to mend" if wrong else "\nEvery tolerance fits the spread that was seen.")
    return int(wrong > 0)
