"""Shell completion as bash drives it: formulas, chemical systems, models and snapshots of the store."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from stores.connections import open_store
from tests.stores.conftest import make_surface
from workflows.cli import completion

COMPOUNDS = {"MgAg": "Ag-Mg", "Mg2Ni": "Mg-Ni", "Mg17Al12": "Al-Mg", "AgZn": "Ag-Zn"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "results.sqlite"
    with open_store(f"sqlite:///{path}") as store:
        store.add(
            [
                make_surface(number, formula=formula, chemsys=chemsys)
                for number, (formula, chemsys) in enumerate(COMPOUNDS.items())
            ]
        )
        store.collection("models").upsert([{"version": n, "schema_version": 1} for n in (1, 2, 10)])
        store.collection("snapshots").upsert(
            [{"id": "3fa9c1", "records": []}, {"id": "b771e0", "records": []}]
        )
    return path


@pytest.fixture
def complete(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MGSURF_CONFIG", raising=False)
    monkeypatch.setenv("MGSURF_STORE", str(filled))

    def run(name: str, incomplete: str, **given: object) -> list[str]:
        return getattr(completion, name)(SimpleNamespace(params=given), incomplete)

    return run


def test_values_of_the_store(complete: Callable[..., list[str]], tmp_path: Path) -> None:
    assert complete("formulas", "") == ["AgZn", "Mg17Al12", "Mg2Ni", "MgAg"]
    assert complete("formulas", "Mg1") == ["Mg17Al12"]
    assert complete("chemical_systems", "Ag-") == ["Ag-Mg", "Ag-Zn"]
    assert complete("chemical_systems", "Mg-A") == ["Mg-Ag", "Mg-Al"]  # in any order
    assert complete("registered_models", "") == ["champion", "latest", "v10", "v2", "v1"]
    assert complete("registered_models", "v1") == ["v10", "v1"]
    assert complete("snapshot_ids", "3") == ["3fa9c1"]
    (tmp_path / "mgsurf_model").mkdir()
    (tmp_path / "mgsurf_model.json").touch()
    assert complete("models_and_folders", "mg") == ["mgsurf_model/"]


def test_the_store_is_that_of_the_command_line_or_of_the_settings(
    complete: Callable[..., list[str]], tmp_path: Path, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.sqlite"
    with open_store(f"sqlite:///{other}") as store:
        store.add(make_surface(formula="MgZn", chemsys="Mg-Zn"))
    assert complete("formulas", "", store="other.sqlite") == ["MgZn"]
    assert complete("formulas", "", store=["other.sqlite", "more.sqlite"]) == ["MgZn"]
    monkeypatch.delenv("MGSURF_STORE")
    assert complete("formulas", "") == []
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config" / "mgsurf.yaml").write_text(f"store: {other}\n")
    assert complete("formulas", "") == ["MgZn"]


def test_what_cannot_be_read_is_silent(
    complete: Callable[..., list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.sqlite").write_text("no database")
    with sqlite3.connect(tmp_path / "foreign.sqlite") as foreign:
        foreign.execute("CREATE TABLE something (x)")
    for store in (
        "none.sqlite",
        "text.sqlite",
        "foreign.sqlite",
        "mongodb://127.0.0.1:9/x",
        "nonsense://",
        "",
    ):
        for name in ("formulas", "chemical_systems", "registered_models", "snapshot_ids"):
            complete(name, "", store=store)
    assert complete("formulas", "", store="text.sqlite") == []
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
def test_bash_completes(filled: Path, tmp_path: Path) -> None:
    """With the script that bash is given, in a bash that asks for several words."""
    program = tmp_path / "mgsurf"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m workflows.cli.app "$@"\n')
    program.chmod(0o755)
    script = """
eval "$(mgsurf --show-completion bash)"
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mgsurf_completion mgsurf; echo "${COMPREPLY[*]}"; }
ask mgsurf query --formula Mg
ask mgsurf models show v
ask mgsurf query --store none.sqlite --formula Mg
"""
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "MGSURF_STORE": str(filled),
        },
    )
    assert done.stdout.splitlines() == ["Mg17Al12 Mg2Ni MgAg", "v10 v2 v1", ""]
    assert done.stderr == ""
