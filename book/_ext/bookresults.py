"""The page of results: every record under results/ as tables, with its command, seeds, date and versions.

A record is a JSON object. Three forms are known, and any other is shown as what it holds:

- an experiment of `python -m helpers experiment`: `arms` and `runs`, one run an arm and seed;
- a table: `rows`, a list of objects with the same keys, for instance a run on a real data set;
- a benchmark or anything else: nested objects, whose numbers are laid out by their path.
"""

import json
import math
import re
from pathlib import Path

from helpers.course.ledger import plain

META = (
    "name",
    "title",
    "question",
    "command",
    "commands",
    "date",
    "versions",
    "seconds",
    "cores",
    "jobs",
    "threads",
    "device",
    "scale",
    "torch",
    "seeds",
    "notes",
    "note",
    "licence",
    "citation",
    "data",
    "processor",
)
NAMES = {"opencv-python-headless": "OpenCV", "scikit-learn": "scikit-learn", "python": "Python"}
MEASURES = {  # what a record's short names stand for; a name that is not here is its own
    "map": "mAP",
    "map50": "mAP50",
    "map75": "mAP75",
    "map_small": "mAP, small",
    "map_medium": "mAP, medium",
    "gap": "calibration error",
    "rank": "rank correlation of confidence and IoU",
    "kl": "KL divergence",
    "knn": "k-NN accuracy",
    "trust": "trustworthiness",
    "global": "correlation of centroid distances",
    "train": "accuracy, training pictures",
    "test": "accuracy, test pictures",
    "tta": "accuracy, test-time augmentation",
    "valid": "accuracy, validation set",
    "fresh": "accuracy, fresh pictures",
    "shared": "share with a copy in training",
    "lab": "accuracy, lab leaves",
    "field": "accuracy, field leaves",
    "error": "reconstruction error",
    "auc turned": "AUC, turned digits",
    "auc patches": "AUC, patches",
    "return": "error of returns",
    "price %": "error of prices, %",
    "skill": "skill against the last price",
    "share": "loss / that of no memory",
    "measured": "factor a step, measured",
    "at rest": "factor a step, without input",
    "predicted": "factor a step, predicted",
    "measured 10": "left after 10 steps",
    "measured 25": "left after 25 steps",
    "measured 50": "left after 50 steps",
    "measured 100": "left after 100 steps",
    "balanced": "balanced accuracy",
    "shuffled": "balanced accuracy, words shuffled",
    "greedy": "exact match, greedy",
    "beam": "exact match, beam",
    "bleu": "BLEU",
    "times_v2": "times faster than v2, tensors",
    "times_copy": "time of copies",
    "memory_mb": "memory, MB",
    "place": "AP50 of any digit",
}
MEASURES |= {
    f"{when} {noise}": f"PSNR in dB, noise {noise}, {what}"
    for noise in (0.1, 0.3, 0.5)
    for when, what in (("none", "untouched"), ("early", "early in training"), ("late", "late in training"))
}
LONG = 12  # a longer list of numbers is folded behind its range


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


def measure(name):
    return MEASURES.get(str(name), str(name).replace("_", " "))


def cell(value):
    """One cell of a table; a long list of numbers is folded."""
    shown = plain(number(value)).replace("\n", " ")
    if isinstance(value, list) and len(value) > LONG and all(isinstance(x, (int, float)) for x in value):
        few = f"{len(value)} values, {number(min(value))} to {number(max(value))}"
        return f"<details><summary>{plain(few)}</summary>{shown}</details>"
    return shown


def spread(values):
    """Mean and 95 % interval of the seeds, as the claim cards compute it."""
    from helpers.course.claims import interval

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
        "| " + " | ".join(plain(measure(c)) for c in columns) + " |",
        "|" + "|".join("---:" if right else "---" for right in numeric) + "|",
    ]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def _experiment(record):
    metrics = list(dict.fromkeys(k for run in record["runs"] for k in run if k not in ("arm", "seed", "seconds")))
    rows = []
    for arm in dict.fromkeys([*record["arms"], *(run["arm"] for run in record["runs"])]):
        runs = [run for run in record["runs"] if run["arm"] == arm]
        cells = [[run[m] for run in runs if m in run] for m in metrics]
        if runs:
            rows.append(
                [
                    arm,
                    *(spread(values) if values else None for values in cells),
                    len(runs),
                    sum(run.get("seconds", 0) for run in runs) / len(runs),
                ]
            )
    heads = ["arm", *metrics, "seeds", "seconds a run"]
    if len(metrics) > len(rows):  # few arms, many measures: the tall form is easier to read
        turned = [[measure(head), *cells] for head, *cells in zip(heads, *rows)]
        return [grid(["measure", *turned[0][1:]], turned[1:])]
    return [grid(heads, rows)]


def _deep(value):
    """Whether a value holds objects of its own, which need a table and not a cell."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(isinstance(x, (dict, list)) for x in inner)


def _labels(rows, columns):
    """A name for each row: its first columns, as many as tell the rows apart; else its number."""
    for n in range(1, len(columns) + 1):
        labels = [", ".join(f"{c} {number(_flat(row[c]))}" for c in columns[:n] if c in row) for row in rows]
        if len(set(labels)) == len(rows):
            return labels
    return [f"row {i}" for i in range(1, len(rows) + 1)]


def _rows(rows):
    columns = list(dict.fromkeys(key for row in rows for key, value in row.items() if not _deep(value)))
    below = {}  # what is nested under a row, by the name of the row
    for label, row in zip(_labels(rows, columns), rows):
        deep = {key: value for key, value in row.items() if _deep(value)}
        if deep:
            below[label] = deep
    tables = [grid(columns, [[_flat(row.get(c)) for c in columns] for row in rows])] if columns else []
    return tables + _anything(next(iter(below.values())) if len(rows) == 1 and below else below)


def _flat(value):
    """What one cell shows of a value that is itself an object: its parts."""
    return ", ".join(f"{k} {number(v)}" for k, v in value.items()) if isinstance(value, dict) else value


def _leaves(value, path=()):
    """(path, {name: scalar or list of scalars}) of every object that holds such values, in order."""
    simple = {
        k: v
        for k, v in value.items()
        if not isinstance(v, (dict, list)) or isinstance(v, list) and not any(isinstance(x, (dict, list)) for x in v)
    }
    if simple:
        yield path, simple
    for k, v in value.items():
        if isinstance(v, dict):
            yield from _leaves(v, (*path, str(k)))
        elif isinstance(v, list) and k not in simple:
            for i, x in enumerate(v, 1):
                yield from _leaves(
                    x if isinstance(x, dict) else {"values": number(x) if isinstance(x, list) else x},
                    (*path, str(k), str(i)),
                )


def body(record):
    """What a record holds beside what `origin` tells: also its seconds, where they are many and have names."""
    return {k: v for k, v in record.items() if k not in META or k == "seconds" and isinstance(v, dict)}


def _anything(record):
    groups = {}
    for path, simple in _leaves(body(record)):
        groups.setdefault((len(path), tuple(simple)), []).append((path, simple))
    tables = []
    for (depth, keys), members in groups.items():
        if len(members) == 1:  # one object: its values under each other read better
            path, simple = members[0]
            name = ", ".join(map(measure, path)) or "quantity"
            tables.append(grid([name, "value"], [(measure(k), v) for k, v in simple.items()]))
        else:  # what all of them belong to is said once, on top
            paths = [path for path, _ in members]
            shared = next((i for i in range(depth) if len({path[i] for path in paths}) > 1), depth - 1)
            heads = [", ".join(paths[0][:shared]) or "of", *["what", "and", "more"][: depth - shared - 1]]
            tables.append(
                grid(heads + list(keys), [[*map(measure, path[shared:]), *simple.values()] for path, simple in members])
            )
    return tables


def tables(record):
    """The Markdown tables of a record of any form."""
    if isinstance(record.get("runs"), list) and isinstance(record.get("arms"), list):
        return _experiment(record)
    rows = record.get("rows")
    if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
        rest = {k: v for k, v in record.items() if k != "rows"}
        return _rows(rows) + _anything(rest)
    return _anything(record)


def clock(seconds):
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} minutes"
        if seconds < 5400
        else f"{seconds / 3600:.1f} hours"
    )


def origin(stem, record):
    """Where a record comes from: its command, date, seeds, machine and versions, in one paragraph."""
    facts = []
    if record.get("date"):
        facts.append(f"Measured on {record['date']}")
    if isinstance(record.get("runs"), list):
        facts.append(f"{len({run.get('seed') for run in record['runs']})} seeds")
    elif record.get("seeds"):
        facts.append(f"seeds {number(record['seeds'])}")
    if record.get("scale"):
        facts.append(f"scale {record['scale']}")
    if isinstance(record.get("seconds"), (int, float)):
        facts.append(clock(record["seconds"]))
    facts += [
        f"{record[key]} {key if record[key] != 1 else key[:-1]}" for key in ("cores", "threads") if record.get(key)
    ]
    facts += [f"device {record[key]}" for key in ("device",) if isinstance(record.get(key), str)]
    versions = record.get("versions") or ({"torch": record["torch"]} if record.get("torch") else {})
    if versions:
        facts.append(", ".join(f"{NAMES.get(name, name)} {version}" for name, version in versions.items()))
    text = "; ".join(facts)
    commands = record.get("commands") or record.get("command") or []
    commands = [commands] if isinstance(commands, str) else [str(c) for c in commands]
    shown = "".join(f"\n```shell\n{command}\n```\n" for command in commands)
    notes = [str(record[key]) for key in ("note", "notes", "licence", "citation") if isinstance(record.get(key), str)]
    return f"{plain(text)}{'.' * bool(text)} Record: `results/{stem}.json`.\n{shown}\n" + "\n\n".join(map(plain, notes))


REAL = ("sentiment-nsmc", "sentiment-folds")  # experiments on data that the course does not bring along


def kind(stem, record):
    """The part of the page that a record belongs to."""
    if stem.startswith("bench-"):
        return "Against others"
    return "Experiments of the lectures" if "runs" in record and stem not in REAL else "On real data"


KINDS = ("On real data", "Experiments of the lectures", "Against others")  # in the order of the page


def heading(stem, record):
    return str(record.get("title") or record.get("question") or stem.replace("-", " ").capitalize())


def results(folder, lectures=None):
    """The page's text, from the records in `folder`; `lectures`: {link to a lecture: its source}."""
    records, lines = load(folder), []
    for part in KINDS:
        chosen = {stem: record for stem, record in records.items() if kind(stem, record) == part}
        lines += [f"## {part}", ""] if chosen else []
        for stem, record in chosen.items():
            lines += [f"(record-{stem})=", f"### {plain(heading(stem, record))}", "", origin(stem, record), ""]
            users = [link for link, source in (lectures or {}).items() if re.search(rf"\b{stem}\b(?!-)", source)]
            lines += [f"Lecture {', '.join(users)} draws from it.", ""] if users else []
            lines += ["\n\n".join(tables(record)), ""]
    return "\n".join(lines) or "Nothing has been recorded yet."
