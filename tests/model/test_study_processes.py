"""Processes of a study that cannot read its data; seeds that no generator takes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from model.studies import runs
from stores.errors import InputError
from workflows.flows.learning.study_file import LARGEST_SEED, read_study

STUDY = """\
data:
  a: {store: one.sqlite, target: x}
  b: {store: one.sqlite, target: y}
seeds: [SEED]
"""


def test_a_store_that_vanished_is_the_line_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def vanished(study: object) -> None:
        raise InputError("data set a: There is no store at van.sqlite; name another.")

    monkeypatch.setattr(runs, "_data", [])
    monkeypatch.setattr(runs, "read_data", vanished)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    warnings = logging.getLogger("model.training.runs")
    monkeypatch.setattr(warnings, "disabled", False)
    runs._begin(None)  # type: ignore[arg-type]  # no study is read
    assert not warnings.isEnabledFor(logging.WARNING)  # no line of each training beside the progress
    with pytest.raises(InputError, match=r"van\.sqlite"):
        runs._train_there(Path("folder"), None)  # type: ignore[arg-type]  # nor trained


@pytest.mark.parametrize(("seed", "fits"), [(LARGEST_SEED, True), (LARGEST_SEED + 1, False), (10**20, False)])
def test_seeds_are_numbers_that_generators_take(seed: int, fits: bool, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("SEED", str(seed)))
    if fits:
        assert read_study(path).seeds == [seed]
        return
    with pytest.raises(InputError, match=rf"study\.yaml:4: seeds\[1\].*{seed}"):
        read_study(path)
