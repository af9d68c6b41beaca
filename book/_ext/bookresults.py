"""The page of results: every record under results/ as tables, with its command, seeds, date and versions.

All records have one form, `helpers.course.experiments.SCHEMA`: an experiment's runs are shown as means over its seeds,
one row an arm; any other's one by one; facts that hold for all runs stand below.
"""

import json
import math
import re
from pathlib import Path

from helpers.course.claims import interval
from helpers.course.lectures import Lecture, lectures
from helpers.course.ledger import plain

NAMES = {"opencv-python-headless": "OpenCV", "python": "Python"}
LONG = 12  # a longer list of numbers is folded behind its range
KINDS = ("On real data", "Experiments of the lectures", "Against others")  # in the order of the page


def load(folder):
    """{stem: record} of every JSON object in a folder; what is damaged fails the build, naming the file."""
    records = {}
    for path in sorted(Path(folder).glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON: {error}") from error
        if isinstance(record, dict):
            records[path.stem] = record
    return records


def number(value):
    """A number for people: four significant digits, thousands apart; anything else as it is."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        if value and not 1e-4 <= abs(value) < 1e9:
            return f"{value:.3g}"
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(number, value))
    return str(value)


def cell(value):
    """One cell of a table; a long list of numbers is folded."""
    shown = plain(number(value)).replace("\n", " ")
    if isinstance(value, list) and len(value) > LONG and all(isinstance(x, (int, float)) for x in value):
        few = f"{len(value)} values, {number(min(value))} to {number(max(value))}"
        return f"<details><summary>{plain(few)}</summary>{shown}</details>"
    return shown


def spread(values):
    """Mean and 95 % interval of the seeds, as the claim cards compute it; of curves the mean at each point.

    A training may end early: the mean goes as far as the shortest curve.
    """
    if isinstance(values[0], list):
        return [sum(column) / len(column) for column in zip(*values)]
    known = interval(values)
    if known.n == 1 or known.low == known.high:
        return number(known.mean)
    digits = max(0, 1 - math.floor(math.log10(known.high - known.low)))  # two figures of the width
    return f"{known.mean:.{digits}f} [{known.low:.{digits}f},\u00a0{known.high:.{digits}f}]"


def grid(columns, rows):
    """A Markdown table; numbers stand to the right."""
    numeric = [
        all(isinstance(row[i], (int, float)) or row[i] is None or str(row[i])[:1] in "-0123456789" for row in rows)
        for i in range(len(columns))
    ]
    lines = [
        "| " + " | ".join(map(plain, columns)) + " |",
        "|" + "|".join("---:" if right else "---" for right in numeric) + "|",
    ]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def means(record):
    """The runs of an experiment, one row an arm: {column: mean and interval of the seeds}."""
    rows = []
    for arm in record["arms"]:
        runs = [run for run in record["runs"] if run["arm"] == arm]
        names = dict.fromkeys(key for run in runs for key in run if key not in ("arm", "seed", "seconds"))
        row = {"arm": arm} | {name: spread([run[name] for run in runs if name in run]) for name in names}
        rows.append(row | {"seeds": len(runs), "seconds a run": sum(run["seconds"] for run in runs) / len(runs)})
    return rows


def alike(rows):
    """Rows whose keys are among another one's go into its table: a list of lists of rows."""
    shapes = [frozenset(row) for row in rows]
    widest = [max((one for one in shapes if shape <= one), key=len) for shape in shapes]
    return [[row for row, one in zip(rows, widest) if one == shape] for shape in dict.fromkeys(widest)]


def tables(record):
    """The Markdown tables of a record."""
    names = lectures().get(record["lecture"], Lecture({})).measures
    measure = lambda name: names.get(name, name.replace("_", " "))
    done = []
    for rows in [means(record)] if "scale" in record else alike(record["runs"]):
        columns = list(dict.fromkeys(key for row in rows for key in row))
        if "scale" in record:  # the last two say how it was measured
            columns = [c for c in columns if c not in ("seeds", "seconds a run")] + ["seeds", "seconds a run"]
        lines = [[row.get(column) for column in columns] for row in rows]
        heads = list(map(measure, columns))
        if "scale" in record and len(columns) - 3 > len(rows):  # few arms, many measures: the tall form reads better
            (_, *arms), *lines = zip(heads, *lines)
            heads = ["measure", *arms]
        done.append(grid(heads, lines))
    facts = [(measure(name), value) for name, value in record.get("facts", {}).items()]
    return done + ([grid(["quantity", "value"], facts)] if facts else [])


def clock(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def origin(record):
    """Where a record comes from: its command, date, seeds, machine and versions, in one paragraph."""
    facts = [f"Measured on {record['date']}"]
    if seeds := {run["seed"] for run in record["runs"] if "seed" in run}:
        facts.append(f"{len(seeds)} seeds")
    facts += [f"scale {record['scale']}"] if "scale" in record else []
    facts += [clock(record["seconds"])] if "seconds" in record else []
    counts = [(key, record[key]) for key in ("cores", "threads") if key in record]
    facts += [f"{n} {key if n != 1 else key[:-1]}" for key, n in counts]
    facts += [f"device {record['device']}"] if "device" in record else []
    facts.append(", ".join(f"{NAMES.get(name, name)} {version}" for name, version in record["versions"].items()))
    commands = record.get("commands", [record["command"]])
    shown = "".join(f"\n```shell\n{command}\n```\n" for command in commands)
    return f"{plain('; '.join(facts))}. Record: `results/{record['name']}.json`.\n{shown}"


def kind(record):
    """The part of the page that a record belongs to."""
    if record["command"].startswith("python benchmarks/"):
        return "Against others"
    named = {name: one.real for lecture in lectures().values() for name, one in lecture.experiments.items()}
    return "On real data" if named.get(record["name"], True) else "Experiments of the lectures"


def results(folder, lectures=None):
    """The page's text, from the records in `folder`; `lectures`: {link to a lecture: its source}."""
    records, lines = load(folder), []
    for part in KINDS:
        chosen = {stem: record for stem, record in records.items() if kind(record) == part}
        lines += [f"## {part}", ""] if chosen else []
        for stem, record in chosen.items():
            lines += [f"(record-{stem})=", f"### {plain(record['title'])}", "", origin(record), ""]
            users = [link for link, source in (lectures or {}).items() if re.search(rf"\b{stem}\b(?!-)", source)]
            lines += [f"Lecture {', '.join(users)} draws from it.", ""] if users else []
            lines += ["\n\n".join(tables(record)), ""]
    return "\n".join(lines) or "Nothing has been recorded yet."
