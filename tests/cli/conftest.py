from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stores.connections import open_store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def records():
    """The module records.py beside this file, which no test package makes importable."""
    spec = importlib.util.spec_from_file_location("cli_records", Path(__file__).with_name("records.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["cli_records"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def filled(records, tmp_path_factory):
    """Path of a store with eight surfaces, their bulk and seven calculations. Read only."""
    path = tmp_path_factory.mktemp("store") / "results.sqlite"
    with open_store(f"sqlite:///{path}") as store:
        store.add(records.quickstart_surfaces())
        store.add(records.calculations())
        store.add(records.bulk())
    return path


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Nothing of the tester's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MGSURF_")}
    home = tmp_path_factory.mktemp("home")
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "HOME": str(home)}


@pytest.fixture
def mgsurf(tmp_path, environment):
    """Run the command in an empty folder; whatever happens, no traceback and no Python warning is shown."""

    def run(*arguments, cwd=tmp_path, env=None, **options):
        done = subprocess.run(
            [sys.executable, "-m", "workflows.cli.app", *map(str, arguments)],
            cwd=cwd,
            env={**environment, **(env or {})},
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
            **options,
        )
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        assert "Warning" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def refused(mgsurf):
    """Run a command that must fail with a single line on stderr; return that line."""

    def run(*arguments, code=2, **options):
        done = mgsurf(*arguments, **options)
        assert done.returncode == code, (done.returncode, done.stderr)
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("mgsurf: ")
        return lines[0]

    return run


@pytest.fixture
def refused_here(tmp_path, monkeypatch):
    """As `refused`, but in this process: for many lines of the same kind, each without a new Python."""
    from workflows.cli.app import app, ending

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))

    def run(*arguments, code=2):
        with pytest.raises(Exception) as raised:
            app([*map(str, arguments)], standalone_mode=False, prog_name="mgsurf")
        (line,), found = ending(raised.value)
        assert found == code, line
        return line

    return run
