"""Stores with a snapshot: of computed surfaces, of imported slabs, of both, and of compositions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from model.data.composition_table import CompositionColumns
from model.data.import_compositions import LabelColumns, import_compositions
from model.data.importers import import_slabs
from stores.connections import open_store
from stores.export import export
from stores.learning.snapshots import create_snapshot
from stores.records import SurfaceRecord, Verdict, Verdicts
from tests.examples.mgag import write_store
from workflows.publication.publish import Published, publish
from workflows.publication.terms import Terms

TERMS = Terms.parse(
    "Surfaces of MgAg",
    ["Ada Lovelace <0000-0002-1825-0097>", "Madonna"],
    "cc-by-4.0",
    "10.5281/zenodo.1234567",
)
REASON = "the surface energy is -0.01 eV/A^2; see /scratch/somebody/runs/x/OUTCAR"


@dataclass
class Stored:
    """A store with one snapshot."""

    path: Path
    snapshot: str

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.path}"

    def publish(self, folder: Path, terms: Terms = TERMS, **options) -> Published:
        with open_store(self.uri, must_exist=True) as store:
            return publish(store, self.snapshot[:10], folder, terms, **options)


def _surfaces(path: Path) -> None:
    write_store(f"sqlite:///{path}")
    with open_store(str(path)) as store:
        first = next(store.records(SurfaceRecord, sort={"id": 1}))
        accepted, negative = Verdict(status="accepted"), Verdict(status="negative", reason=REASON)
        half = Verdicts(surface_energy=negative, work_function=accepted)
        none = Verdicts(
            surface_energy=negative, work_function=Verdict(status="vacuum_not_flat", reason="slope")
        )
        source = first.provenance.model_copy(
            update={"source": "file", "identifiers": ["/scratch/somebody/data/MgAg.cif"]}
        )
        store.add(
            [
                first.model_copy(
                    update={"id": "half", "termination_key": "h", "verdicts": half, "provenance": source}
                ),
                first.model_copy(update={"id": "none", "termination_key": "n", "verdicts": none}),
            ]
        )


def _labels(path: Path, folder: Path) -> None:
    """Import the slabs of MgAg as somebody else's."""
    write_store(f"memory://{folder.name}")
    with open_store(f"memory://{folder.name}") as store:
        export(store.records(SurfaceRecord), folder / "cgcnn", "cgcnn")
    result = import_slabs(str(folder / "cgcnn"), f"sqlite:///{path}", source="others2020")
    assert (result.n_read, result.problems) == (5, [])


def _compositions(path: Path, folder: Path) -> None:
    (folder / "alloys.csv").write_text("alloy,T,hardness,glass\nMg65Cu25Y10,300,2.5,yes\nMgZn,,1.1,no\n")
    import_compositions(
        folder / "alloys.csv",
        f"sqlite:///{path}",
        CompositionColumns(("alloy",), None, None),
        LabelColumns(("hardness", "glass"), ("glass",), ("T",), (), {"hardness": "GPa"}),
        source="alloys",
    )


@pytest.fixture(scope="session")
def stored(tmp_path_factory) -> dict[str, Stored]:
    """Stores by what they hold: surfaces, labels, both, compositions. Read only."""
    made = {}
    for kind in ("surfaces", "labels", "both", "compositions"):
        folder = tmp_path_factory.mktemp(kind)
        path = folder / "a.sqlite"
        if kind in ("surfaces", "both"):
            _surfaces(path)
        if kind in ("labels", "both"):
            _labels(path, folder)
        if kind == "compositions":
            _compositions(path, folder)
        with open_store(str(path)) as store:
            made[kind] = Stored(path, create_snapshot(store, separate=kind == "both").id)
    return made


@pytest.fixture(scope="session")
def published(stored, tmp_path_factory) -> dict[str, Path]:
    """The data sets of these stores. Read only."""
    folder = tmp_path_factory.mktemp("published")
    for kind, one in stored.items():
        one.publish(folder / kind)
    return {kind: folder / kind for kind in stored}
