"""The Dockerfile, the Apptainer definition and the conda recipe agree with the project they install."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "install"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMES = {"matplotlib": "matplotlib-base", "torch": "pytorch", "optimade": "optimade-python-tools"}
"""Names that conda-forge gives to packages of PyPI."""


def dockerfile() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile, each with its arguments on one line."""
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in joined.splitlines()]


def sections() -> dict[str, list[str]]:
    """Sections of the Apptainer definition; its header is under an empty name."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in (FOLDER / "mgsurf.def").read_text(encoding="utf-8").splitlines():
        if line.startswith("%"):
            name = line.strip()
            found[name] = []
        elif line.strip() and not line.lstrip().startswith("#"):
            found[name].append(line.strip())
    return found


def assert_extras_exist(text: str) -> None:
    assert text and set(text.split(",")) <= set(PROJECT["optional-dependencies"])


def test_dockerfile_copies_what_is_there_and_installs_extras_that_exist() -> None:
    steps = dockerfile()
    assert {name for name, _ in steps} <= {
        *("ARG", "FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "EXPOSE", "ENTRYPOINT", "CMD")
    }
    stages = [content.split(" AS ")[1] for name, content in steps if name == "FROM"]
    assert stages[-1] == "mgsurf"  # what is built if no target is named
    for name, content in steps:
        if name == "COPY" and not content.startswith("--from=wheel "):
            *sources, _ = shlex.split(content)
            assert all((ROOT / source).exists() for source in sources), content
    (extras,) = [
        content.partition("=")[2] for name, content in steps if name == "ARG" and "EXTRAS" in content
    ]
    assert_extras_exist(extras)
    for name, content in steps:
        if name == "RUN":
            shlex.split(content)  # balanced quotes
            for listed in re.findall(r"\.whl\)\[([a-z,-]+)\]", content):
                assert_extras_exist(listed)
    assert [content for name, content in steps if name == "USER"] == ["mgsurf", "mgsurf"]  # never root


def test_gpaw_of_the_image_is_compiled_as_by_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (run,) = [content for name, content in dockerfile() if name == "RUN" and "GPAW_CONFIG" in content]
    (packages,) = re.findall(r"^MPI_APT := (.+)$", makefile, re.MULTILINE)
    (libraries,) = re.findall(r"^MPI_LIBRARIES := (.+)$", makefile, re.MULTILINE)
    (installed,) = [content for name, content in dockerfile() if name == "RUN" and "apt-get" in content]
    assert set(packages.split()) <= set(installed.split())
    assert f"libraries = '{libraries}'.split()" in run
    for line in ('"mpi = True"', "\"compiler = 'mpicc'\"", '"fftw = True"', '"scalapack = True"'):
        assert line in run and line in makefile


def test_apptainer_definition_copies_what_is_there_and_fills_its_arguments() -> None:
    found = sections()
    assert found[""] == ["Bootstrap: docker", "From: python:{{ PYTHON }}-slim"]
    arguments = dict(line.split("=", 1) for line in found["%arguments"])
    assert_extras_exist(arguments["EXTRAS"])
    for line in found["%files"]:
        source, target = line.split()
        assert (ROOT / source).exists()
        assert target == f"/opt/mgsurf/{source}"
    used = set(re.findall(r"\{\{ (\w+) \}\}", "\n".join(line for lines in found.values() for line in lines)))
    assert used == set(arguments)
    assert 'exec mgsurf "$@"' in found["%runscript"]


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    return dict(YAML(typ="safe").load((FOLDER / "recipe.yaml").read_text(encoding="utf-8")))


def test_recipe_needs_what_the_project_needs(recipe: dict[str, Any]) -> None:
    assert recipe["context"]["version"] == PROJECT["version"]
    assert recipe["about"]["license"] == PROJECT["license"]
    assert (FOLDER / recipe["source"]["path"] / "pyproject.toml").is_file()
    assert recipe["build"]["python"]["entry_points"] == [f"mgsurf = {PROJECT['scripts']['mgsurf']}"]
    wanted = {}
    for line in PROJECT["dependencies"]:
        requirement = Requirement(line)
        name = NAMES.get(requirement.name, requirement.name)
        wanted[name] = set(str(requirement.specifier).split(","))
    listed = dict(line.split(" ", 1) for line in recipe["requirements"]["run"])
    assert listed.pop("python") == PROJECT["requires-python"]
    assert {name: set(bounds.split(",")) for name, bounds in listed.items()} == wanted


def test_recipe_bounds_what_extras_bring(recipe: dict[str, Any]) -> None:
    extras = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]
    bounds = {NAMES.get(r.name, r.name): str(r.specifier) for r in extras}
    for line in recipe["requirements"]["run_constraints"]:
        name, bound = line.split(" ", 1)
        assert bounds[name] == bound
