from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stores.errors import install_command
from workflows.execution.doctor import read_constraints

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]
DIRECT = PROJECT["dependencies"] + [
    line for extra in PROJECT["optional-dependencies"].values() for line in extra
]
PINS = read_constraints(ROOT / "constraints.txt")


@pytest.mark.parametrize("line", [line for line in DIRECT if not line.startswith("mgsurf[")])
def test_direct_dependency_is_pinned_within_its_bounds(line):
    requirement = Requirement(line)
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("line", DIRECT)
def test_direct_dependency_says_what_it_is_for(line):
    assert re.search(rf'^\s*"{re.escape(line)}",\s+# \w+', PYPROJECT, re.MULTILINE)


def test_torch_is_pinned_but_only_an_extra():
    assert PINS["torch"] == "2.13.0"
    assert f"torch=={PINS['torch']} --index-url" in install_command("model")
    names = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert not names & {"torch", "atomate2", "gpaw"}


def test_no_package_is_pinned_twice():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert sum("==" in line.partition("#")[0] for line in lines) == len(PINS)


def test_constraints_name_no_place():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--" not in text


def test_line_of_another_form_is_named(tmp_path):
    path = tmp_path / "constraints.txt"
    path.write_text("# pins\nnumpy==2.4.6\nscipy>=1\n")
    with pytest.raises(ValueError, match="line 3: 'scipy>=1'"):
        read_constraints(path)
