from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """An empty cache, and no store or model named by the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MGSURF_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("MGSURF_STORE", raising=False)
        patch.delenv("MGSURF_MODEL", raising=False)
        yield


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
def mgsurf_here(mgsurf, tmp_path, environment, monkeypatch):
    """As `mgsurf`, but in this process, which spares the seconds that a new Python needs for its imports.

    A module whose tests need no process of their own names its fixture `mgsurf` so. With options for the
    process (stdin, preexec_fn) one is started.
    """

    def run(*arguments, cwd=tmp_path, env=None, **options):
        if options:
            return mgsurf(*arguments, cwd=cwd, env=env, **options)
        from workflows.cli.app import main

        output, errors = io.StringIO(), io.StringIO()
        command = [*map(str, arguments)]
        loggers = [logging.getLogger(name) for name in ("", "stores", "model", "workflows")]
        handlers = [list(logger.handlers) for logger in loggers]
        interrupt = signal.getsignal(signal.SIGINT)
        with monkeypatch.context() as patched, warnings.catch_warnings():
            patched.chdir(cwd)
            for name in [name for name in os.environ if name.startswith("MGSURF_")]:
                patched.delenv(name)
            for name, value in {**environment, **(env or {})}.items():
                patched.setenv(name, value)
            try:
                with redirect_stdout(output), redirect_stderr(errors), pytest.raises(SystemExit) as end:
                    main(command)
            finally:
                signal.signal(signal.SIGINT, interrupt)
                for logger, before in zip(loggers, handlers, strict=True):
                    logger.handlers[:] = before
        done = subprocess.CompletedProcess(command, end.value.code, output.getvalue(), errors.getvalue())
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
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
