"""Files: written whole or not at all, hashed, and only into folders where nothing lies."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.course.errors import UserError

TEMPORARY = ".tmp-"  # how the name of a file begins that is being written, or whose writer was killed


class WriteError(UserError, OSError):
    """A file that could not be written: one line for the reader, and still an OSError with its `errno`, `strerror`
    and `filename` for a caller that has more to say."""

    def __str__(self) -> str:
        return (
            f"cannot write {self.filename}: {self.strerror}; free some space or choose another folder "
            "(what was saved before is untouched)"
        )


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path, flags: int = os.O_RDONLY) -> None:
    """Wait until what was written to a file, or renamed in a folder, is on the disk and survives a power cut."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(path: str | os.PathLike, durable: bool = True) -> Iterator[Path]:
    """Write a file atomically: a reader finds the old file or the whole new one, never a part.

    Yields a temporary path beside `path` to be filled by whatever means. At the end of the block the file is brought
    to the disk, made readable for all (0644) and moved to `path`; after an error it is removed and `path` is as it
    was. A process that is killed leaves the old file and one whose name begins with `TEMPORARY`. Folders are made
    where they are missing. Raises WriteError where the file cannot be written.

    durable=False does not wait for the disk, which takes milliseconds: for many files whose hashes stand elsewhere.
    """
    path, temporary = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        if durable:
            _to_disk(temporary, os.O_RDWR)  # before the renaming: else a power cut may leave an empty file
        temporary.chmod(0o644)  # mkstemp makes 0600: a cache shared by several users could not be read
        os.replace(temporary, path)
        if durable and os.name == "posix":  # elsewhere a folder cannot be opened
            _to_disk(path.parent)
    except OSError as error:
        mine = temporary is None or error.filename in (None, str(temporary))
        if error.errno is None or not mine:  # the block failed at something else: a broken download, a file to read
            raise
        raise WriteError(error.errno, error.strerror, str(path)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_atomically(path: str | os.PathLike, data: bytes, durable: bool = True) -> Path:
    """Write bytes to `path` as `replacing` does; returns the path."""
    with replacing(path, durable) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def empty_folder(path: str | os.PathLike) -> Path:
    """`path` as a Path, for what is written into a new folder; raises UserError where something lies there."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} is not an empty folder: choose a new one, nothing was written")
    return path
