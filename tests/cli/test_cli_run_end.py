"""The last lines of `mgsurf run`: what the store holds for the next model, at the width of a terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from stores.connections import open_store
from workflows.cli.run import REHEARSAL, _conclude
from workflows.execution.listener import Tally
from workflows.flows.campaign.file import load_campaign


@pytest.fixture
def end_of_run(tmp_path):
    """Print the end of a run that made these records, on a terminal of 80 columns; return its lines."""
    (tmp_path / "zinc.yaml").write_text("name: zinc\ncompounds:\n  - formula: Mg\n")
    campaign = load_campaign(tmp_path / "zinc.yaml")

    def run(made):
        uri = f"sqlite:///{tmp_path}/s.sqlite"
        with open_store(uri) as store:
            store.add(made)
        console = Console(width=80, force_terminal=True, color_system=None, file=io.StringIO())
        _conclude(console, campaign, uri, tmp_path, Tally(records=[one.id for one in made]), 60.0)
        return re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue()).splitlines()

    return run


def test_lines_fit_the_terminal(end_of_run, records):
    lines = end_of_run(records.quickstart_surfaces())
    (first,) = [line for line in lines if line.startswith("model ")]
    assert "7 accepted records of 2 compounds" in first
    rest = lines[lines.index(first) :]
    assert len(rest) > 1 and max(map(len, rest)) <= 80


def test_a_rehearsal_brings_no_model_nearer(end_of_run, records):
    surfaces = records.quickstart_surfaces()
    mlip = surfaces[0].method.model_copy(update={"engine": "mlip"})
    by_mlip = {"method": mlip, "method_fingerprint": mlip.fingerprint}
    (line,) = [
        line
        for line in end_of_run([one.model_copy(update=by_mlip) for one in surfaces])
        if line.startswith("model ")
    ]
    assert REHEARSAL in line and "accepted" not in line
