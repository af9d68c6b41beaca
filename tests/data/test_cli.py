"""`python -m helpers data ...`: what there is, what is on this machine, and what is damaged."""

from command_line import here as run
from command_line import refused, the_object

from helpers.data.catalogue import CATALOGUE


def here(*words):
    """A command in this process: (status, stdout, stderr)."""
    done = run(*words)
    return done.exit_code, done.stdout, done.stderr


def test_data_list_and_verify(tmp_path, monkeypatch):
    monkeypatch.setenv("DLM_CACHE", str(tmp_path))
    status, out, _ = here("data", "list", "--json")
    rows = the_object(out)["data"]
    assert status == 0 and [r["name"] for r in rows] == list(CATALOGUE)
    assert {r["state"] for r in rows} == {"installed", "missing"}
    text = here("data", "list")[1].split("\n")
    assert len(text) == len(rows) + 2 and all(r["name"] in line for r, line in zip(rows, text[1:]))
    status, out, _ = here("data", "verify", "photographs", "--json")
    assert (status, the_object(out)) == (0, {"photographs": "installed"})

    entry = CATALOGUE["mnist-5k"]
    (tmp_path / entry.name / entry.place).parent.mkdir(parents=True)
    (tmp_path / entry.name / entry.place).write_bytes(b"damaged")
    status, out, err = here("data", "verify", "mnist-5k", "--json")
    assert status == 2 and the_object(out)["mnist-5k"].startswith("corrupt")
    assert err.startswith("error: corrupt: mnist-5k;") and "data fetch mnist-5k" in err


def test_a_wrong_name_is_said_before_the_first_download(tmp_path, monkeypatch):
    monkeypatch.setenv("DLM_CACHE", str(tmp_path / "cache"))
    refused(run("data", "fetch", "mnist-5k", "photograph"), "'photograph'", "did you mean photographs?")
    assert not (tmp_path / "cache").exists()
    refused(run("data", "verify", "zzz"), "'zzz'", "data list")
