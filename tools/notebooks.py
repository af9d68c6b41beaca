"""Run the notebooks and store their outputs in one canonical form: a difference in git then means something.

    python -m tools.notebooks [PATH...]            run each one from a fresh kernel, then store it
    python -m tools.notebooks --tidy [PATH...]     do not run, only bring into canonical form
    python -m tools.notebooks --check [PATH...]    change nothing; exit 1 if one is not in canonical form
    python -m tools.notebooks --spread [PATH...]   change nothing; run under other machines' arithmetic and show how far
                                                   each number moves, beside its tolerance (tools.spread)
    python -m tools.notebooks --fit [PATH...]      write the tolerances that --spread asked for into the cells' tags

Canonical: cells numbered 1..N, one kernel name, no widget state, no times or paths of the machine, palette
PNGs. A run also notes its date, seconds, memory, cores, versions and the data that it read in the notebook's
metadata `verified`; the book shows them.
"""

import base64
import datetime
import io
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat

from helpers.course.compare import seen
from helpers.course.files import write_atomically
from helpers.course.kernel import BOOK, Unfinished, execute

ROOT = Path(__file__).parents[1]
VERSIONS = ("torch", "torchvision", "numpy")  # named in the stamp, after Python
KEEP = ("tags", "jupyter", "slideshow")  # metadata of a cell that mean something
WATCH = (
    "import sys; sys.addaudithook(lambda event, args: event == 'open' and sys.__dict__.setdefault("
    "'opened_files', set()).add(str(args[0])))"
)
USED = "__import__('helpers.data.store', fromlist=['x']).used(__import__('sys').__dict__.get('opened_files', ()))"
PEAK = "__import__('resource').getrusage(__import__('resource').RUSAGE_SELF).ru_maxrss"


def shrink(data):
    """A base64 PNG with at most 128 colours, a third of the size; unchanged where that gains nothing."""
    from PIL import Image

    raw = base64.b64decode(data)
    image = Image.open(io.BytesIO(raw))
    if image.mode != "P":
        flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        out = io.BytesIO()
        flat.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() < len(raw):
            raw = out.getvalue()
    return base64.b64encode(raw).decode() + "\n"


def canonical(nb, name="notebook"):
    """The notebook `nb` in canonical form; a cell that was never run raises ValueError."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    stamp = {"verified": nb.metadata["verified"]} if "verified" in nb.metadata else {}
    nb.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}, **stamp})
    nb.nbformat_minor = 5
    count = 0
    for cell in nb.cells:
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in KEEP if key in cell.metadata})
        if cell.cell_type != "code":
            continue
        count += 1
        if cell.execution_count is None:
            raise ValueError(
                f"code cell {count} was not run, so there is nothing to compare with; make notebooks NOTEBOOK={name}"
            )
        cell.execution_count = count
        cell.outputs = merged(seen(cell.outputs))  # a bar that is gone no longer parts two prints
        for out in cell.outputs:
            if "execution_count" in out:
                out.execution_count = count
            if "image/png" in out.get("data", {}):
                out.data["image/png"] = shrink(out.data["image/png"])
            out.pop("transient", None)
            if out.output_type == "error":
                out.traceback = [f"{out.ename}: {out.evalue}"]  # without paths and colours
    return nb


def merged(outputs):
    """Neighbouring pieces of one stream joined: how they were cut is a matter of timing."""
    done = []
    for out in outputs:
        last = done[-1] if done else None
        if last and out.output_type == last.output_type == "stream" and out.name == last.name:
            last.text += out.text
        else:
            done.append(out)
    return done


def text(nb):
    return nbformat.writes(nb, version=4).rstrip("\n") + "\n"


def run(path):
    """Run the notebook at `path` from a fresh kernel in its own folder; returns it with outputs and stamp."""
    asked = {"used": USED} | ({"peak": PEAK} if sys.platform != "win32" else {})
    ran = execute(path, before=WATCH, asked=asked)
    nb, answers = ran.notebook, ran.answers
    if ran.silent:
        print(
            f"{path.name}: no progress bar in {', '.join(ran.silent)}; helpers.course.progress.track", file=sys.stderr
        )
    kilobytes = answers.get("peak")
    megabytes = kilobytes and round(kilobytes / (1024 if sys.platform != "darwin" else 1024**2))
    nb.metadata["verified"] = {
        "date": datetime.date.today().isoformat(),
        "seconds": round(ran.seconds),
        "memory_mb": megabytes,
        "data": answers["used"],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "versions": {
            "Python": platform.python_version(),
            **{name: version(name).partition("+")[0] for name in VERSIONS},
        },
    }
    return nb


def main(arguments):
    from nbclient.exceptions import CellExecutionError

    options = {argument for argument in arguments if argument.startswith("--")}
    if len(options) > 1 or options - {"--check", "--tidy", "--spread", "--fit"}:
        print(__doc__)
        return 2
    paths = [Path(argument) for argument in arguments if argument not in options]
    paths = paths or sorted((ROOT / "notebooks").glob("*.ipynb"))
    if options & {"--spread", "--fit"}:
        from tools import spread

        return (spread.main if "--spread" in options else spread.refit)([path.resolve() for path in paths])
    failed = 0
    for path in paths:
        try:
            old = path.read_text(encoding="utf-8")
            nb = canonical(nbformat.reads(old, 4) if options else run(path.resolve()), path)
        except (ValueError, OSError, CellExecutionError, Unfinished) as error:
            print(f"\n{path}: {str(error).strip()}", file=sys.stderr)
            failed += 1
            continue
        new = text(nb)
        if "--check" in options:
            if new != old:
                print(f"{path} is not canonical; python -m tools.notebooks --tidy {path}", file=sys.stderr)
                failed += 1
            continue
        if new != old:
            write_atomically(path, new.encode())
        ran = "" if options else f", ran in {nb.metadata['verified']['seconds']} s"
        print(f"{path}: {len(new) / 1e6:.2f} MB{ran}")
    if not options and not failed:
        from tools import readme

        failed += readme.main([])  # it tells numbers of the stored outputs
    return int(failed > 0)


if __name__ == "__main__":
    os.environ.update(BOOK)
    sys.exit(main(sys.argv[1:]))
