"""Other machines' arithmetic on this one: what a setting says is what the libraries do."""

import datetime
import json
import os
import platform
import subprocess
import sys

import pytest

from tools import elsewhere

WHAT_RUNS = """
import json, numpy, torch
from threadpoolctl import threadpool_info
blas = [p.get("architecture") for p in threadpool_info() if p.get("internal_api") == "openblas"]
print(json.dumps({"torch": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads(), "blas": blas}))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instruction sets are those of Intel and AMD")
@pytest.mark.parametrize(
    "name, capability, blas", [("avx2", "AVX2", "Haswell"), ("sse", "DEFAULT", "Nehalem"), ("native-2", None, None)]
)
def test_a_setting_reaches_the_libraries(name, capability, blas):
    variables = os.environ | elsewhere.environment(name)
    done = subprocess.run([sys.executable, "-c", WHAT_RUNS], env=variables, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert capability in (None, found["torch"])
    assert blas is None or set(found["blas"]) == {blas}
    assert found["threads"] == int(variables["OMP_NUM_THREADS"])


def test_each_day_has_another_setting():
    names, first = elsewhere.there(), datetime.date(2030, 1, 1)
    days = [elsewhere.today(names, first + datetime.timedelta(i)) for i in range(len(names))]
    assert sorted(days) == sorted(names) and len(names) >= 5


def test_an_unknown_setting_is_one_line(capsys):
    assert elsewhere.main(["mmx"]) == 2
    assert "there is no setting mmx; there are native-1, native-2, avx2" in capsys.readouterr().err


def test_the_list_names_every_variable(capsys):
    assert elsewhere.main(["--list"]) == 0
    said = capsys.readouterr().out
    assert "MKL_CBWR=COMPATIBLE" in said and "ONEDNN_MAX_CPU_ISA=SSE41" in said


def test_one_setting_that_fails_is_enough(monkeypatch, capsys):
    monkeypatch.setattr(elsewhere, "run", lambda name, *_: (int(name == "sse"), "1 failed", 3.0))
    assert elsewhere.main(["native-1", "sse"]) == 1
    assert "sse        FAILED    3 s  1 failed" in capsys.readouterr().out
    assert elsewhere.main(["native-1"]) == 0
