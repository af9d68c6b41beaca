"""Files: written whole or not at all, hashed, and only into folders where nothing lies."""

import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from helpers.course.errors import UserError

TEMPORARY = ".tmp-"


def sha256(path):
    """SHA-256 of a file's bytes, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path):
    """Write a file atomically: yields a temporary path beside `path`, moves it there if all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp makes 0600: a cache shared by several users could not be read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path, data):
    """Write bytes to `path` so that a reader finds the old file or the whole new one, never a part."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UserError(f"cannot write into {path.parent}: {error.strerror}; choose another folder") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise UserError(
            f"cannot write {path}: {error.strerror}; free some space or choose another folder "
            "(what was saved before is untouched)"
        ) from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def empty_folder(path):
    """`path` as a Path, for what is written into a new folder; raises UserError where something lies there."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} is not an empty folder: choose a new one, nothing was written")
    return path
