from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Structure

from model.data.dataset import Dataset
from model.data.identical_slabs import compound_keys, group_identical
from model.graphs.batch import collate
from model.graphs.cache import GraphCache
from model.graphs.graph import GraphSettings, build_graph
from stores.connections import open_store
from stores.errors import InputError
from stores.labelled import LabelRecord, add_labels, source_fingerprint
from stores.records import Provenance, SurfaceRecord, Verdict, Verdicts, content_hash
from tests.methods import GPAW_DEMO
from tests.model.crystals import slabs_of
from workflows.structures.slabs import SymmetricSlab


def label(structure: Structure, name: str, source: str = "others", **targets: float | None) -> LabelRecord:
    return LabelRecord(
        id=content_hash([source, name]),
        source=source,
        source_id=name,
        method_fingerprint=source_fingerprint(source),
        formula=structure.composition.reduced_formula,
        chemsys=structure.composition.chemical_system,
        composition={str(k): int(v) for k, v in structure.composition.items()},
        n_atoms=len(structure),
        compound=structure.composition.reduced_formula,
        slab=structure,
        geometry="as_cut",
        targets=targets,
    )


def surface(
    cut: SymmetricSlab, formula: str, status: str = "accepted", preset: str = "demo"
) -> SurfaceRecord:
    verdict = Verdict(status=status)  # type: ignore[arg-type]
    return SurfaceRecord(
        id=content_hash([formula, cut.miller_index, cut.termination, cut.n_layers]),
        formula=formula,
        chemsys=cut.structure.composition.chemical_system,
        method=GPAW_DEMO,
        method_fingerprint=GPAW_DEMO.fingerprint,
        bulk_id=formula,
        provenance=Provenance(source="prototype"),
        spacegroup_number=cut.spacegroup_number,
        miller_index=cut.miller_index,
        termination=cut.termination,
        termination_label=cut.termination_label,
        termination_key=cut.termination_key,
        cut=cut.cut,
        period=cut.period,
        n_layers=cut.n_layers,
        n_atoms=len(cut.structure),
        composition={str(k): int(v) for k, v in cut.structure.composition.items()},
        thickness=cut.thickness,
        vacuum=cut.vacuum,
        area=cut.area,
        slab=cut.structure.as_dict(),
        surface_energy=0.05,
        work_function=4.0,
        verdicts=Verdicts(surface_energy=verdict, work_function=Verdict(status="accepted")),  # type: ignore[arg-type]
    )


@pytest.fixture
def uri(tmp_path) -> str:
    """Ten imported slabs, of which some lack a target."""
    uri = f"sqlite:///{tmp_path}/store.sqlite"
    with open_store(uri) as store:
        cuts = [*slabs_of("MgAg"), *slabs_of("Mg")]
        records = [
            label(
                cut.structure, f"slab{i}", surface_energy=0.01 * i if i != 1 else None, work_function=3.0 + i
            )
            for i, cut in enumerate(cuts)
        ]
        records.append(label(cuts[0].structure, "unlabelled", surface_energy=None, work_function=None))
        add_labels(store, records)
    return uri


def test_imported_slabs_come_with_their_targets(uri: str) -> None:
    dataset = Dataset.from_store(uri)
    assert dataset.targets == ("surface_energy", "work_function")
    n = len(slabs_of("MgAg")) + len(slabs_of("Mg"))
    assert len(dataset) == n  # the one without any label is left out
    lacking = [entry for entry in dataset if entry.targets["surface_energy"] is None]
    assert len(lacking) == 1
    assert lacking[0].targets["work_function"] == 4.0
    assert {entry.chemsys for entry in dataset} == {"Ag-Mg", "Mg"}
    assert [e.record_id for e in dataset] == sorted(e.record_id for e in dataset)
    assert all(set(entry.elements) == set(entry.chemsys.split("-")) for entry in dataset)


def test_targets_can_be_chosen(uri: str) -> None:
    one = Dataset.from_store(uri, ["surface_energy"])
    assert one.targets == ("surface_energy",)
    assert len([entry for entry in one if entry.chemsys == "Ag-Mg"]) == len(slabs_of("MgAg")) - 1
    with pytest.raises(InputError, match=r"no labels cleavage_energy; it has surface_energy, work_function"):
        Dataset.from_store(uri, ["cleavage_energy"])


def test_a_store_that_is_not_there_is_not_made(tmp_path) -> None:
    with pytest.raises(InputError, match="There is no store"):
        Dataset.from_store(f"sqlite:///{tmp_path}/none.sqlite")
    assert not list(tmp_path.iterdir())


def test_graphs_come_from_the_cache_the_second_time(uri: str, tmp_path, monkeypatch) -> None:
    cache = GraphCache(tmp_path / "graphs.sqlite")
    done: list[tuple[int, int]] = []
    first = Dataset.from_store(uri, cache=cache, tick=lambda i, n: done.append((i, n)))
    assert done[-1] == (len(first), len(first))
    monkeypatch.setattr("model.graphs.cache.graph_or_reason", None)  # no graph is built any more
    again = Dataset.from_store(uri, cache=cache)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.graph.distances, other.graph.distances)
    with pytest.raises(TypeError):
        Dataset.from_store(uri, cache=cache, settings=GraphSettings(whole_shells=True))


def test_labels_of_two_methods_never_meet_in_one_target(uri: str) -> None:
    cut = slabs_of("MgZn2")[0]
    with open_store(uri) as store:
        add_labels(store, [label(cut.structure, "x", source="third", surface_energy=0.07)])
    with pytest.raises(InputError, match=r"surface_energy come from several methods.*imported-others.*\(1\)"):
        Dataset.from_store(uri)
    third = Dataset.from_store(uri, methods=["imported-third"])
    assert (len(third), third.targets) == (1, ("surface_energy",))
    apart = Dataset.from_store(uri, ["surface_energy"], separate=True)
    assert len(apart.targets) == 2
    assert all(name.startswith("surface_energy@imported-") for name in apart.targets)
    assert all(sum(v is not None for v in entry.targets.values()) == 1 for entry in apart)
    # targets of one method each stand side by side
    assert Dataset.from_store(uri, ["work_function"]).targets == ("work_function",)
    with pytest.raises(InputError, match="is not there; the store has imported-others"):
        Dataset.from_store(uri, methods=["vasp"])


def test_own_surfaces_enter_as_cut_and_only_with_accepted_values(tmp_path) -> None:
    uri = f"sqlite:///{tmp_path}/own.sqlite"
    cuts = slabs_of("MgAg")
    with open_store(uri) as store:
        store.add([surface(cuts[0], "MgAg"), surface(cuts[1], "MgAg", "negative")])
    dataset = Dataset.from_store(uri)
    values = {entry.targets["surface_energy"] for entry in dataset}
    assert values == {0.05, None}
    assert {entry.targets["work_function"] for entry in dataset} == {4.0}
    assert {entry.formula for entry in dataset} == {"MgAg"}
    assert len({entry.compound for entry in dataset}) == 1
    thicknesses = sorted(entry.graph.thickness for entry in dataset)
    assert thicknesses == pytest.approx(sorted(cut.thickness for cut in cuts[:2]))


def test_one_termination_at_two_thicknesses_is_one_group(tmp_path) -> None:
    uri = f"sqlite:///{tmp_path}/own.sqlite"
    thin, thick = slabs_of("MgAg")[0], slabs_of("MgAg", 15.0)[0]
    with open_store(uri) as store:
        store.add([surface(thin, "MgAg"), surface(thick, "MgAg"), surface(slabs_of("MgAg")[1], "MgAg")])
    dataset = Dataset.from_store(uri)
    assert len(dataset) == 3
    groups = {
        content: [e.group for e in dataset if (e.graph.n_nodes > 9) == content] for content in (True, False)
    }
    assert len(groups[True]) == 1  # the thick one
    assert len(set(groups[False])) == 2
    assert groups[True][0] in groups[False]


def test_identical_slabs_are_grouped_whatever_their_setting() -> None:
    structures = [s.structure for s in slabs_of("MgZn2")[:4]]
    disguised = structures[1].make_supercell([[1, 1, 0], [-1, 1, 0], [0, 0, 1]], in_place=False)
    disguised.perturb(1e-4)
    disguised.translate_sites(range(len(disguised)), [0.1, 0.3, 0.4])
    graphs = [build_graph(s) for s in [*structures, disguised]]
    assert group_identical(graphs) == [0, 1, 2, 3, 1]
    assert group_identical(graphs, ["a", None, None, "a", None]) == [0, 1, 2, 0, 1]


def test_compounds_are_told_by_formula_and_volume() -> None:
    found = compound_keys(
        ["MgAg 18.20", "MgAg 18.22", "MgAg 19.9", "MgAg3 17.0", "Mg20Ag21", "MgAg9", "Mg"],
        ["Ag-Mg"] * 6 + ["Mg"],
        [{"Mg": 1, "Ag": 1}] * 4 + [{"Mg": 20, "Ag": 21}, {"Mg": 1, "Ag": 9}, {"Mg": 4}],
    )
    assert found[0] == found[1] == found[4] == ("MgAg", "MgAg 18.2")
    assert found[2] == ("MgAg", "MgAg 19.9")
    assert found[3] == ("MgAg3", "MgAg3 17.0")
    assert found[5] == ("MgAg9", "MgAg9")
    assert found[6] == ("Mg", "Mg")


def test_a_slab_without_a_graph_is_named_not_fatal(uri: str) -> None:
    bulk = slabs_of("MgAg")[0].oriented_bulk
    with open_store(uri) as store:
        add_labels(store, [label(bulk, "bulk", surface_energy=0.1)])
    dataset = Dataset.from_store(uri)
    assert len(dataset.skipped) == 1
    assert "No vacuum" in dataset.skipped[0]


@pytest.mark.parametrize("settings", [GraphSettings(), GraphSettings(whole_shells=True, fold=True)])
def test_batches_put_graphs_side_by_side(settings: GraphSettings) -> None:
    graphs = [build_graph(s.structure, settings) for s in slabs_of("Mg3Sb2")[:3]]
    batch = collate(graphs)
    assert len(batch) == 3
    assert bool((batch.offsets.diff() == 12).all()) != settings.fold
    assert (batch.multiplicity is None) == (not settings.fold)
    assert batch.n_atoms.tolist() == [len(s.structure) for s in slabs_of("Mg3Sb2")[:3]]
    start = 0
    for i, graph in enumerate(graphs):
        nodes = slice(start, start + graph.n_nodes)
        assert set(batch.slab_index[nodes].tolist()) == {i}
        edges = slice(int(batch.offsets[start]), int(batch.offsets[start + graph.n_nodes]))
        np.testing.assert_array_equal(batch.neighbour[edges].numpy() - start, graph.neighbours)
        np.testing.assert_array_equal(batch.distance[edges].numpy(), graph.distances)
        np.testing.assert_array_equal(batch.numbers[nodes].numpy(), graph.numbers)
        assert (batch.slab_index[batch.centre[edges]] == i).all()
        start += graph.n_nodes
    assert batch.to("cpu").n_nodes.tolist() == [g.n_nodes for g in graphs]
