"""The machine that a result was made on, told without naming whose it is: no user, no host, no folder."""

import getpass
import os
import platform
import re
import subprocess
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# what the notebooks' numbers and pictures come out of
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "scikit-image",
    "openTSNE",
    "opencv-python-headless",
    "pillow",
    "matplotlib",
    "sacrebleu",
    "ipykernel",
    "nbclient",
)
# variables that change in which order a sum is added up
ARITHMETIC = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "OPENBLAS_CORETYPE",
)
# an absolute path, of whatever system: a slash, ~ or a drive, at least one folder, and a name
NAME = r"[^\s\\/'\"<>|:,;()]"
PATH = re.compile(rf"(?:(?<![\w/.<>])~?/(?!/)|\b[A-Za-z]:[\\/]+)(?:{NAME}+[\\/]+)+({NAME}*)")


def processor() -> str:
    """The processor's name as its maker gives it, where the system knows it."""
    try:
        if platform.system() == "Darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
        names = re.findall(r"(?m)^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        return names[0].strip() if names else platform.processor() or platform.machine()
    except (OSError, subprocess.SubprocessError):
        return platform.processor() or platform.machine()


def memory() -> float | None:
    """Gigabytes of memory; None where the system does not tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def machine() -> dict[str, Any]:
    """What the arithmetic of this machine depends on."""
    import torch

    return {
        "processor": processor(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instruction_sets": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "memory_gb": memory(),
        "system": f"{platform.system()} {platform.release()}",
        "settings": {name: os.environ[name] for name in ARITHMETIC if name in os.environ},
    }


def versions() -> dict[str, str]:
    """Python's version and that of each of `PACKAGES`."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def tested(root: Path = ROOT) -> dict[str, str]:
    """The tested set: {package: version} of constraints.txt; empty where the file does not lie there."""
    path = root / "constraints.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {name: pinned for name, equal, pinned in (line.partition("==") for line in lines) if equal}


def commit(root: Path = ROOT) -> str | None:
    """The commit of the course, and whether files of it were changed; None where git does not know."""

    def git(*words):
        return subprocess.run(
            ["git", "-C", root, *words], capture_output=True, text=True, timeout=30, check=True
        ).stdout

    try:
        if Path(git("rev-parse", "--show-toplevel").strip()).resolve() != root.resolve():
            return None  # the course lies in a folder of another repository
        changed = git("status", "--porcelain", "--untracked-files=no").strip()
        return git("rev-parse", "--short=10", "HEAD").strip() + (", with changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def private(text: str) -> str:
    """`text` without what tells whose machine this is: of an absolute path only the file's name stays, inside the
    course its path from there; the names of user and host become three dots.
    """
    text = text.replace("file://", "").replace(f"{ROOT}{os.sep}", "")
    for folder in (Path.home(), Path(tempfile.gettempdir())):  # as they are: they may hold blanks
        if folder != folder.parent:
            text = text.replace(str(folder), "~")
    text = PATH.sub(lambda path: f"…/{path[1]}" if "." in path[1] else "…", text)
    for name in _names():
        text = re.sub(rf"(?i)(?<!\w){re.escape(name)}(?!\w)", "…", text)
    return text


def _names():
    """What user and host are called, but for what many are called."""
    names = {platform.node(), platform.node().partition(".")[0]}
    try:
        names |= {getpass.getuser(), Path.home().name}
    except (OSError, KeyError, ImportError):  # a user without a name, as in a container
        pass
    return sorted((name for name in names - {"root", "localhost"} if len(name) > 2), key=len, reverse=True)
