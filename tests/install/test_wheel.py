"""The wheel: what is in it, and that commands and pages run from it alone."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("workflows", "model", "stores")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what the wheel installs."""
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is in the extra dev")
    folder = tmp_path_factory.mktemp("wheel")
    (built,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def kept_files() -> set[str]:
    """Files of the packages that git keeps, and those that are new."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *PACKAGES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip("an unpacked archive has no git")
    return {name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()}


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(unpacked: Path) -> None:
    found = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    packed = {name for name in found if ".dist-info/" not in name}
    assert packed == kept_files() | {"mgsurf.py"}
    assert {Path(name).suffix for name in packed} >= {".py", ".csv", ".html", ".css", ".js"}


def test_its_description_says_what_it_is(unpacked: Path) -> None:
    (text,) = unpacked.glob("*.dist-info/METADATA")
    content = email.message_from_string(text.read_text(encoding="utf-8"))
    assert content["License-Expression"] == "BSD-3-Clause"
    assert "Private :: Do Not Upload" in content.get_all("Classifier", [])
    assert f'version = "{content["Version"]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"version: {content['Version']}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    extras = content.get_all("Provides-Extra", [])
    assert {"serve", "model", "gpaw", "vasp", "hpc"} <= set(extras)
    assert list(unpacked.glob("*.dist-info/licenses/LICENSE"))
    (entries,) = unpacked.glob("*.dist-info/entry_points.txt")
    assert "mgsurf = workflows.cli.app:main" in entries.read_text(encoding="utf-8")


def test_commands_engines_and_pages_run_from_it(unpacked: Path, tmp_path: Path) -> None:
    """In a process that sees the wheel's files and the installed packages, but no clone."""
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx2")
    program = f"""
import os, sys
import workflows, stores, model, mgsurf
here = {str(unpacked)!r}
assert all(m.__file__.startswith(here) for m in (workflows, stores, model, mgsurf)), workflows.__file__
from stores.connections import open_store
from stores.errors import install_command
assert "constraints.txt" not in install_command("serve") and "mgsurf[serve]" in install_command("serve")
from model.compositions.element_properties import element_properties
from workflows.analysis.dissolution import known_cations
from workflows.engines.registry import available_engines, make_engine
assert element_properties() and known_cations()
assert {{"gpaw", "vasp"}} <= set(available_engines())
make_engine("vasp", "production")
open_store("sqlite:///results.sqlite").close()
from starlette.testclient import TestClient
from workflows.web.app import create_app
client = TestClient(create_app("sqlite:///results.sqlite"))
page = client.get("/facets")
assert page.status_code == 200, page.text
linked = [part.split('"')[0] for part in page.text.split('"/static/')[1:]]
assert linked and all(client.get("/static/" + name).status_code == 200 for name in linked), linked
print("pages", len(linked))
from workflows.cli.app import main
main(["query", "--store", "results.sqlite"])
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MGSURF_")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "pages" in done.stdout
