"""Commands are run with a distinctive password; it is in no output, no message and no written file."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest

from stores import secrets
from stores.backends import mongo
from stores.secrets import MaskedFormatter
from tests.reliability.limits import run_here
from workflows.cli.app import _show_warnings, ending, report

SECRET = "Xq7zTopSecret"
URI = f"mongodb://me:{SECRET}@127.0.0.1:9/x"
CAMPAIGN = """\
name: a
compounds: [{formula: MgAg, prototype: B2, facets: ["100"]}]
slabs: {min_thickness: 5.0}
engine: {name: "tests.engines.pair_engine:PairEngine"}
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty folder with a campaign; MongoDB is given up at once."""
    monkeypatch.setattr(secrets, "_remembered", set())
    monkeypatch.setattr(mongo, "SERVER_TIMEOUT", 0.05)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(CAMPAIGN)
    return tmp_path


def check(place: Path, *shown: str) -> None:
    assert SECRET not in "".join(shown)
    files = [path for path in place.rglob("*") if path.is_file() and path.name != "secret.yaml"]
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["query"],
        ["query", "--json"],
        ["status", "c.yaml"],
        ["run", "c.yaml"],
        ["run", "c.yaml", "--dry-run"],
        ["ingest", ".", "--dry-run"],
        ["export", "csv"],
        ["audit"],
        ["models", "list"],
        ["snapshot", "list"],
        ["refresh", "c.yaml"],
        ["schedule", "c.yaml", "--with", "cron"],
        ["schedule", "c.yaml", "--with", "slurm"],
        ["plot", "wulff", "--formula", "MgAg"],
        ["suggest", "c.yaml"],
        ["doctor"],
        ["import", "."],
    ],
    ids=" ".join,
)
def test_store_with_a_password(place, arguments):
    code, out, err = run_here([*arguments, "--store", URI])
    assert code != 0 or "--dry-run" in arguments
    check(place, out, err)


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://me:{SECRET}@host:port:x/y",
        f"mongodb://me:p@ss:{SECRET}/rd@host/y",
        f"mongodb://me:{SECRET}?#@127.0.0.1:9,127.0.0.1:10/y",
        f"mongodb+srv://me:{SECRET}@127.0.0.1/y",
        f"mongodb://127.0.0.1:9/x?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:{SECRET}",
        f"mongodb://127.0.0.1:9/x?authMechanism=nonsense&password={SECRET}",
        f"mongo://me:{SECRET}@h/x",
        f"me:{SECRET}@h",
    ],
    ids=len,  # the text itself would be in PYTEST_CURRENT_TEST, and so known
)
@pytest.mark.parametrize("way", ["option", "environment", "campaign", "argument"])
def test_address_in_every_form_and_place(place, monkeypatch, uri, way):
    arguments = ["status"]
    if way == "option":
        arguments += ["--store", uri]
    elif way == "environment":
        monkeypatch.setenv("MGSURF_STORE", uri)
    elif way == "campaign":
        Path("secret.yaml").write_text(f"{CAMPAIGN}store: {uri!r}\n")
        arguments += ["secret.yaml"]
    else:
        arguments += ["c.yaml", uri]
    code, out, err = run_here(arguments)
    assert code != 0
    check(place, out, err)


def test_options_of_slurm_and_addresses_of_databases(place):
    check(
        place,
        *map(str, run_here(["schedule", "c.yaml", "--with", "slurm", f"--slurm=--export=MY_TOKEN={SECRET}"])),
    )
    source = f'name: a\nsources: [{{optimade: ["https://me:{SECRET}@127.0.0.1/optimade"]}}]\n'
    for text in (source, source.replace("me:", "").replace("@127", "/127"), source.replace("me:", "token=")):
        Path("secret.yaml").write_text(text)
        code, out, err = run_here(["enumerate", "secret.yaml", "--quiet"])
        assert code != 0
        check(place, out, err)


@pytest.mark.parametrize(
    "line",
    [
        f"store: [mongodb://me:a b {SECRET}@h/x]",
        f'store: "mongodb://me:a b {SECRET}',
        f"store: mongodb://me:a: {SECRET}",
        f"store: mongodb://me:a b {SECRET}@h/x\nstore: x",
    ],
    ids=len,
)
def test_settings_file_and_campaign_with_a_mistake(place, monkeypatch, line):
    Path("secret.yaml").write_text(f"{line}\n")
    code, out, err = run_here(["status", "secret.yaml"])
    assert code == 2
    check(place, out, err)
    monkeypatch.setenv("MGSURF_CONFIG", "secret.yaml")
    code, out, err = run_here(["query"])
    assert code == 2
    check(place, out, err)


def test_tracebacks_logs_and_reasons(place, monkeypatch, capsys):
    monkeypatch.setenv("MGSURF_DEBUG", "1")
    monkeypatch.setenv("MY_TOKEN", SECRET)
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr("tempfile.tempdir", str(place))
    try:
        raise RuntimeError(f"cannot reach {URI} with {SECRET}")
    except RuntimeError as error:
        assert report(error) == 70
        assert ending(error).exit_code == 70
        record = logging.LogRecord(
            "a", logging.ERROR, "a.py", 1, "failed: %s", (URI,), (type(error), error, None)
        )
    shown = capsys.readouterr()
    assert "RuntimeError" in shown.err
    assert list(place.glob("mgsurf-error-*.log"))
    check(place, shown.out, shown.err, MaskedFormatter("%(message)s").format(record))


def test_warnings_of_libraries_with_debugging(place, monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        _show_warnings()
        try:
            logging.getLogger("pymongo").warning("no answer of %s", URI)
            warnings.warn(f"no option at {URI}", UserWarning, stacklevel=1)
        finally:
            logging.captureWarnings(False)
    shown = capsys.readouterr().err
    assert shown.count("me:***@") == 2
    check(place, shown)


def test_an_engine_that_quotes_a_secret_keeps_it_out_of_record_and_folder(place, monkeypatch):
    from stores.connections import open_store
    from tests.engines import pair_engine

    def fail(*_: object) -> None:
        raise RuntimeError(f"licence server {URI} refused {SECRET}")

    monkeypatch.setenv("MY_TOKEN", SECRET)
    monkeypatch.setattr(pair_engine.PairEngine, "relax_bulk", fail)
    code, out, err = run_here(["run", "c.yaml", "--quiet"])
    assert code == 1
    check(place, out, err)
    with open_store("mgsurf.sqlite") as store:
        (record, *_) = store.collection("calculations").query({})
    assert "licence server" in record["output"]["reason"]
