from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from rich.console import Console

from stores.connections import open_job_store
from workflows.execution.listener import RunListener
from workflows.execution.local import run_local
from workflows.flows.surface import SurfaceMaker
from workflows.jobs.context import RunContext
from workflows.structures.elements import ground_state

PAIR_ENGINE = "tests.engines.pair_engine:PairEngine"


@pytest.fixture(scope="session")
def mgag():
    return Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture(scope="session")
def mg():
    return ground_state("Mg")


class Bench:
    """A store, a working directory and the fast engine; counts what the engine really ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "engine.log"
        self.store = f"sqlite:///{folder / 'results.sqlite'}"

    def context(self, **options) -> RunContext:
        return RunContext(
            store=self.store,
            work_dir=str(self.folder / "runs"),
            engine=PAIR_ENGINE,
            options={"log": str(self.log), **options},
            campaign="test",
        )

    def run(self, flow, work_dir: Path | None = None):
        """Run a flow to its end and return the tally."""
        work = work_dir or self.folder / "runs"
        work.mkdir(exist_ok=True)
        with RunListener(Console(quiet=True), work, quiet=True) as listener:
            run_local(flow, open_job_store(self.store), work, listener.tally)
        return listener.tally

    def executed(self) -> Counter:
        """How often each calculation was run by the engine."""
        return Counter(self.log.read_text().splitlines()) if self.log.exists() else Counter()


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture(scope="session")
def computed(tmp_path_factory, mgag):
    """All facets of MgAg, computed once; to be read only."""
    bench = Bench(tmp_path_factory.mktemp("computed"))
    assert bench.run(SurfaceMaker(bench.context()).make(mgag)).problems == []
    return bench


@pytest.fixture
def continued(computed, tmp_path):
    """A copy of `computed`, to continue from."""
    return Bench(Path(shutil.copytree(computed.folder, tmp_path / "copy")))
