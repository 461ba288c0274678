from __future__ import annotations

import json
import subprocess
import sys

import pytest

from workflows.cli.app import app

HEAVY = [
    "pymatgen", "ase", "maggma", "matplotlib", "torch", "jobflow", "gpaw", "numpy", "scipy", "spglib",
    "ruamel", "pymongo", "atomate2", "jobflow_remote", "qtoolkit",
]  # fmt: skip


def loaded(environment, cwd, *arguments):
    script = (
        "import sys, json, workflows.cli.app as app\n"
        "try: app.main(sys.argv[1:])\n"
        "except SystemExit as end: status = end.code\n"
        "print(json.dumps([status, sorted({name.split('.')[0] for name in sys.modules})]), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True, text=True, env=environment, cwd=cwd, check=True,
    )  # fmt: skip
    status, modules = json.loads(done.stderr.strip().splitlines()[-1])
    assert status == 0, done.stderr
    return modules


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["query", "--help"],
        ["--version"],
        ["query"],
        [
            "query",
            "--json",
            "--chemsys",
            "Mg-Ag",
            "--miller",
            "110",
            "--verdict",
            "accepted",
            "--since",
            "9w",
        ],
        ["query", "--csv", "--sort", "-surface_energy", "--element", "Ag", "--formula", "AgMg"],
        ["status"],
    ],
    ids=" ".join,
)
def test_quick_commands_import_nothing_heavy(environment, filled, tmp_path, arguments):
    modules = loaded({**environment, "MGSURF_STORE": f"sqlite:///{filled}"}, tmp_path, *arguments)
    assert not set(HEAVY) & set(modules)


def test_every_command_has_help_with_an_example(mgsurf, capsys):
    top = mgsurf("--help").stdout
    for command in ("run", "slabs", "converge", "status", "query", "plot", "export", "doctor"):
        assert f" {command} " in top
        assert app([command, "--help"], standalone_mode=False) == 0
        assert "Example" in capsys.readouterr().out, command


def test_no_arguments_show_the_help(mgsurf):
    done = mgsurf()
    assert "Usage: mgsurf" in done.stdout + done.stderr


def test_the_installed_command_is_the_tested_one():
    import tomllib
    from pathlib import Path

    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    assert tomllib.loads(text)["project"]["scripts"]["mgsurf"] == "workflows.cli.app:main"
