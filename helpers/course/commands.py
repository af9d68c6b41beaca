"""What all commands share: options, one clear line for an error, one JSON object for a result."""

import errno
import functools
import json
import math
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from helpers.course.errors import UserError


def _positive(value):
    if value is not None and not 0 < value < math.inf:  # NaN is neither
        raise typer.BadParameter(f"{value} is no positive number")
    return value


Data = Annotated[str, typer.Option("--data", help="The data, e.g. folder:PATH.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the model, the checkpoints and the metrics.")]
Weights = Annotated[Path, typer.Option("--weights", help="The folder that the train command wrote.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the training data.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of split, order and weights.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, xpu.")]
Precision = Annotated[str, typer.Option("--precision", help="auto, no (float32), bf16, fp16.")]
Compile = Annotated[bool, typer.Option("--compile", help="torch.compile the model: slower to start, faster to run.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Samples a step, over all processes.")]
LearningRate = Annotated[float | None, typer.Option("--lr", callback=_positive, help="Largest learning rate.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes that read data too large for memory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]


def clear(command):
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
            message, status = f"{error.filename or 'writing'}: {error.strerror}; use another folder or make room", 2
        except RuntimeError as error:
            if "out of memory" not in str(error):
                raise
            message, status = "the device is out of memory: use a smaller --batch-size or --size", 2
        finally:
            _end_processes()
        note(f"error: {message}" if status == 2 else message)
        raise typer.Exit(status)

    return wrapped


def _end_processes():
    """Leave the group of a launched run: PyTorch warns where it is left open."""
    if "torch" in sys.modules:
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


def note(line):
    """Progress and errors go to stderr; with several processes only the first one speaks."""
    if int(os.environ.get("RANK", "0")) == 0:
        print(line, file=sys.stderr, flush=True)


def epoch_line(entry):
    """Progress of a run without a terminal: a line an epoch."""
    if not sys.stderr.isatty():
        note(", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in entry.items()))


def answer(facts, as_json, text):
    """Print the result: one JSON object, or lines for people. Only the first of several processes does."""
    if int(os.environ.get("RANK", "0")) == 0:
        print(json.dumps(facts, ensure_ascii=False, default=str) if as_json else text, flush=True)


def kind_and_path(data, kinds):
    """Split `folder:PATH`; `kinds` are the allowed words before the colon (or alone, like `leaves`)."""
    kind, colon, path = data.partition(":")
    if kind not in kinds:
        raise UserError(f"--data {data!r} is not one of {', '.join(kinds.values())}")
    if kinds[kind].endswith("PATH") != bool(path):
        raise UserError(f"--data {data!r} {'takes no path' if path else 'needs a path'}: {kinds[kind]}")
    return kind, os.path.expanduser(path)  # no shell expands the ~ in folder:~/pictures


def fresh(out, resume):
    """Refuse, before any work, to write over a run that exists, or where nothing can be written."""
    if not resume and (out / "last.safetensors").exists():
        raise UserError(f"{out / 'last.safetensors'} exists: go on with --resume, or choose another --out")
    place = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not place.is_dir():
        raise UserError(f"--out {out} cannot be a folder: {place} is a file; choose another --out")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"--out {out} cannot be written: no permission in {place}; choose another --out")
