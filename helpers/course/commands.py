"""What all commands share: options, one clear line for an error, one JSON object for a result, and how to train.

A lecture's `train` gives data, model, recipe and score; `train_command` does what every training does:

    def run(options, device):                     # options: out, resume, device, precision, seed, log for `fit`
        result = fit(model, data, **options, ...)
        return Trained({"accuracy": accuracy} | cli.progress(result), "accuracy 0.9", result.history, save)

    cli.train_command(run, out=out, seed=seed, resume=resume, device=device, precision=precision, as_json=json_)
"""

import errno
import functools
import json
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from helpers.course.errors import UserError

# ---------------------------------------------------------------- options


def _positive(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:  # NaN is neither
        raise typer.BadParameter(f"must be a positive number; got {value}")
    return value


def _split(value: str) -> str:
    return "valid" if value == "val" else value


Out = Annotated[Path, typer.Option("--out", help="Folder for the model, the checkpoints and the metrics.")]
Weights = Annotated[Path, typer.Option("--weights", help="The folder that the train command wrote.")]
Images = Annotated[list[Path], typer.Argument(help="Picture files.")]
Split = Annotated[
    Literal["train", "valid", "test", "val"],
    typer.Option("--split", callback=_split, help="Which part of the data; val is another spelling of valid."),
]
SplitSeed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        max=2**32 - 1,
        help="Seed of the split of a folder that has none of its own; that of the training if left out.",
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the training data.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of split, order and weights.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, xpu.")]
Precision = Annotated[
    Literal["auto", "no", "bf16", "fp16"], typer.Option("--precision", help="Of the arithmetic; no: float32.")
]
Compile = Annotated[bool, typer.Option("--compile", help="torch.compile the model: slower to start, faster to run.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Samples a step, over all processes.")]
LearningRate = Annotated[float | None, typer.Option("--lr", callback=_positive, help="Largest learning rate.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes that read data too large for memory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]


def kind_and_path(data: str, kinds: dict[str, str]) -> tuple[str, str]:
    """Split `folder:PATH`; `kinds` are the allowed words before the colon (or alone, like `leaves`)."""
    kind, colon, path = data.partition(":")
    if kind not in kinds:
        raise UserError(f"--data must be one of {', '.join(kinds.values())}; got {data!r}")
    if kinds[kind].endswith("PATH") != bool(path):
        raise UserError(
            f"--data {kind} {'takes no path' if path else 'needs a path'}: write {kinds[kind]}; got {data!r}"
        )
    return kind, os.path.expanduser(path)  # no shell expands the ~ in folder:~/pictures


# ---------------------------------------------------------------- errors and answers


def clear(command: Callable) -> Callable:
    """Decorate a command: what a user can mend ends in one line on stderr and exit status 2."""

    @functools.wraps(command)
    def wrapped(*args, **kwargs):
        try:
            return command(*args, **kwargs)
        except UserError as error:
            message, status = str(error), 2
        except KeyboardInterrupt:
            again = "; go on with --resume" if "resume" in kwargs else ""
            message, status = f"stopped{again}", 130
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
                raise
            where = error.filename or "the result"
            message, status = f"cannot write {where}: {error.strerror}; free some space or choose another folder", 2
        except RuntimeError as error:
            if "out of memory" not in str(error):
                raise
            message, status = "the device ran out of memory: use a smaller --batch-size or --size", 2
        finally:
            _end_processes()
        note(f"error: {message}" if status == 2 else message)
        raise typer.Exit(status)

    return wrapped


class OneLine(TyperGroup):
    """The group of all commands: a wrong option, too, ends in one line on stderr and exit status 2."""

    def main(self, *args: Any, **more: Any) -> Any:
        if not more.pop("standalone_mode", True):
            return super().main(*args, standalone_mode=False, **more)  # type: ignore[misc]
        try:
            status = super().main(*args, standalone_mode=False, **more)  # type: ignore[misc]
        except typer.Abort:
            sys.exit(130)
        except Exception as error:
            if not hasattr(error, "format_message"):  # no complaint of the parser's
                raise
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()  # type: ignore[attr-defined]
                sys.exit(2)
            message = re.sub(r"^Invalid value for '([^']+)'.*?: (Value error, )?", r"\1: ", error.format_message())
            if choice := re.match(r"(.+): ('.*') is not one of (.*)", message, re.S):
                allowed = choice[3].replace("'", "").rstrip(". ")
                message = f"{choice[1]} must be one of {allowed}; got {choice[2]}"
            context = getattr(error, "ctx", None)
            path = context.command_path if context else "python -m helpers"
            note(f"error: {message.rstrip('.').replace(chr(10), ' ')}; see {path} --help")
            sys.exit(2)
        sys.exit(status if isinstance(status, int) else 0)


def _end_processes() -> None:
    """Leave the group of a launched run: PyTorch warns where it is left open."""
    if "torch" in sys.modules:
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


def note(line: str) -> None:
    """Progress and errors go to stderr; with several processes only the first one speaks."""
    if int(os.environ.get("RANK", "0")) == 0:
        print(line, file=sys.stderr, flush=True)


def epoch_line(entry: dict) -> None:
    """Progress of a run without a terminal: a line an epoch."""
    if not sys.stderr.isatty():
        note(", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in entry.items()))


def to_json(value: Any, indent: int | None = None) -> str:
    """Strict JSON text of a tree of dicts and lists. NaN and infinity, of which JSON knows nothing, become null."""
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False, default=str)


def _finite(value):
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def answer(facts: dict, as_json: bool, text: str) -> None:
    """Print the result: one JSON object, or lines for people. Only the first of several processes does."""
    if int(os.environ.get("RANK", "0")) == 0:
        print(to_json(facts) if as_json else text, flush=True)


# ---------------------------------------------------------------- training


def fresh(out: Path, resume: bool, files: Sequence[str] = ("last.safetensors",)) -> None:
    """Refuse, before any work, to write over a run that exists (one of `files`, patterns inside `out`), or where
    nothing can be written.
    """
    found = next((path for pattern in files for path in sorted(out.glob(pattern))), None)
    if found and not resume:
        raise UserError(f"{found} exists: go on with --resume, or choose another --out")
    writable(out)


def writable(out: Path) -> None:
    """Refuse an --out that cannot become a folder, or in which nothing can be written."""
    place = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not place.is_dir():
        raise UserError(f"--out {out} cannot be a folder: {place} is a file; choose another --out")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"--out {out} is not writable: no permission to write in {place}; choose another --out")


@dataclass
class Trained:
    """What a lecture's run hands to `train_command`."""

    facts: dict  # the answer: scores, sizes, and the `progress` of the training
    text: str  # the same in words: "accuracy 0.9 on 100 pictures"
    history: list  # a dict an epoch
    save: Callable | None = None  # save() writes the model into --out


def progress(result: Any) -> dict:
    """The facts of a `training.Result` that every training reports."""
    return {
        "epochs": result.epochs,
        "best_epoch": result.best and result.best["epoch"],
        "resumed_from": result.resumed_from,
        "stopped_early": result.stopped_early,
    }


def train_command(
    run: Callable[[dict, Any], Trained],
    *,
    out: Path,
    seed: int,
    resume: bool,
    device: str,
    precision: str,
    as_json: bool,
    files: Sequence[str] = ("last.safetensors",),
) -> None:
    """Train with `run`, save, write OUT/metrics.json, and answer.

    run    run(options, device) -> Trained; `options` are for `training.fit`: out, seed, resume, device, precision,
           log. `device` is the torch device that they mean here.
    files  patterns of the files in `out` by which a run that exists is known

    A wrong --out, --device or --precision raises UserError before `run` is called. Of several processes, the main one
    alone saves. metrics.json holds command, seed, date and versions, the answer, and the history.
    """
    fresh(out, resume, files)
    from datetime import date

    from accelerate.state import PartialState

    from helpers.course.devices import engine
    from helpers.course.experiments import versions
    from helpers.course.files import write_atomically

    started, place = monotonic(), engine(device, precision).device
    options = {"out": out, "seed": seed, "resume": resume, "device": device, "precision": precision}
    trained = run(options | {"log": epoch_line}, place)
    facts = trained.facts | {"seconds": monotonic() - started, "weights": str(out)}
    if PartialState().is_main_process:
        if trained.save:
            trained.save()
        how = {
            "command": shlex.join(["python", "-m", "helpers", *sys.argv[1:]]),
            "seed": seed,
            "date": date.today().isoformat(),
            "versions": versions(),
        }
        whole = to_json(how | facts | {"history": trained.history}, indent=1) + "\n"
        write_atomically(out / "metrics.json", whole.encode())
    answer(facts, as_json, f"{trained.text}; the model lies in {out}")
