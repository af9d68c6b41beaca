"""The same numbers elsewhere: the notebooks and the tests that compare numbers, under the arithmetic of other machines.

    python -m tools.elsewhere                   every setting, one after the other
    python -m tools.elsewhere avx2 sse          these
    python -m tools.elsewhere --today           one of them, another one each day (what .ci/run does)
    python -m tools.elsewhere --list            what there is
    python -m tools.elsewhere --notebooks ...   the notebooks alone

A processor's instruction set decides in which order a sum is added up, and so does the number of threads; the
libraries under PyTorch, NumPy and SciPy can be told to do without their newer instructions, which makes one machine
compute as several. Exit status 1 if one setting failed. What each library reads:

    ATEN_CPU_CAPABILITY        PyTorch's own loops: avx512, avx2, default
    ONEDNN_MAX_CPU_ISA         oneDNN, PyTorch's convolutions on Intel and AMD
    MKL_ENABLE_INSTRUCTIONS    Intel's BLAS under PyTorch; MKL_CBWR=COMPATIBLE is its branch for any processor
    OPENBLAS_CORETYPE          OpenBLAS under NumPy and SciPy
"""

import datetime
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ONE = {"OMP_NUM_THREADS": "1"}
SETTINGS = {
    "native-1": ONE,
    "native-2": {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},  # two threads, also where other work goes on
    "avx2": ONE
    | {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "sse": ONE
    | {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "OPENBLAS_CORETYPE": "Nehalem",
    },
    "cbwr": ONE | {"MKL_CBWR": "COMPATIBLE"},
}
PYTHONS = {"py311": "3.11", "py313": "3.13"}  # the tested set in an environment of its own, .venv-py313
# the tests that compare numbers; those of commands, processes, browsers and pages have nothing to do with it
NUMBERS = ("augmentation", "course", "data", "embedding", "recurrent", "sentiment", "transfer", "yolo")
NOT_NUMBERS = ("test_cli.py", "test_commands.py", "test_training.py", "test_download.py", "test_devices.py")


def installed(version):
    """The path of a Python of that version ("3.13"), on the PATH or among those of pyenv; None where none runs."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in [f"python{version}", *map(str, sorted(versions.glob(f"{version}.*/bin/python{version}")))]:
        if path := shutil.which(candidate):
            if subprocess.run([path, "-c", "import venv"], capture_output=True).returncode == 0:
                return path
    return None


def interpreter(name):
    """The Python of a setting, set up where it is not yet; None where none is here, or it runs all others anyway."""
    if name not in PYTHONS:
        return Path(sys.executable)
    if sys.version.startswith(PYTHONS[name] + "."):
        return None
    room = ROOT / f".venv-{name}"
    stamp = room / ".installed"
    wanted = max((ROOT / name).stat().st_mtime for name in ("pyproject.toml", "constraints.txt"))
    if not stamp.exists() or stamp.stat().st_mtime < wanted:
        if not (base := installed(PYTHONS[name])):
            return None
        print(f"{name}: installing the tested set into {room.name} (some minutes and up to 6 GB, once)", flush=True)
        subprocess.run([base, "-m", "venv", room], check=True)
        pip = [room / "bin" / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "-c", "constraints.txt", "-e", ".[dev]"], cwd=ROOT, check=True)
        stamp.touch()
    return room / "bin" / "python"


def there():
    """The names of the settings that this machine can show."""
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return list(SETTINGS) + [name for name, version in PYTHONS.items() if version != own and installed(version)]


def environment(name):
    """The variables of a setting, on top of this process's."""
    return SETTINGS.get(name, ONE)


def today(names, day=None):
    """The setting whose turn it is: each day the next one."""
    return names[(day or datetime.date.today()).toordinal() % len(names)]


def run(name, notebooks_only=False, workers=2):
    """pytest under a setting -> (its exit status, its last line, seconds)."""
    command = [str(interpreter(name)), "-m", "pytest", "--nbval", "-q", "-rf", "-p", "no:cacheprovider"]
    command += ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder", "notebooks"]
    if not notebooks_only:
        command += [f"tests/{folder}" for folder in NUMBERS]
        command += [f"--ignore-glob=*/{name}" for name in NOT_NUMBERS]
    started, last = time.monotonic(), ""
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment(name), stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip(" =\n") or last
    return process.returncode, last, time.monotonic() - started


def main(arguments):
    options = {argument for argument in arguments if argument.startswith("--")}
    names = [argument for argument in arguments if argument not in options]
    here = there()
    unknown = [name for name in names if name not in SETTINGS | PYTHONS]
    if unknown or options - {"--today", "--list", "--notebooks"}:
        print(__doc__)
        if unknown:
            print(f"there is no setting {', '.join(unknown)}; there are {', '.join(here)}", file=sys.stderr)
        return 2
    missing = [name for name in names if name not in here]
    if missing:
        print(f"{', '.join(missing)}: no Python of that version here, or it is the one that runs this", file=sys.stderr)
        return 2
    if "--list" in options:
        for name in here:
            print(f"{name:<10}", *(f"{key}={value}" for key, value in environment(name).items()))
        return 0
    chosen = names or ([today(here)] if "--today" in options else here)
    done = {}
    for name in chosen:
        settings = " ".join(f"{key}={value}" for key, value in environment(name).items())
        print(f"\n{name}: {settings} {interpreter(name)}", flush=True)
        done[name] = run(name, "--notebooks" in options)
    print("\nThe same numbers elsewhere")
    for name, (status, last, seconds) in done.items():
        print(f"  {name:<10} {'green ' if status == 0 else 'FAILED'} {seconds:4.0f} s  {last}")
    return int(any(status for status, _, _ in done.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
