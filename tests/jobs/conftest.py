from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.vasp_folders import quick_tree


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A tree of six finished calculations. Read only."""
    root = tmp_path_factory.mktemp("finished")
    quick_tree(root)
    return root


@pytest.fixture
def tree(finished, tmp_path):
    """A copy of `finished` that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "tree"))
