from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from model.graphs import compiled_graphs as module
from model.graphs.compiled_graphs import can_compile, compiled_graphs, graph_or_reason
from model.graphs.graph import COSINE_TOLERANCE, GraphSettings, SlabGraph
from model.graphs.slab_frame import PlainSlab
from model.training.presets import PRESETS
from stores.errors import InputError
from tests.model.crystals import slabs_of
from tests.model.small_dataset import slabs

BEST = PRESETS["best"].graph
STRUCTURES = [s.structure for name in ("MgAg", "MgZn2", "Mg3Sb2", "Mg2Ni") for s in slabs_of(name)]
STRUCTURES += [*slabs("Ag", False), *slabs("Y", True)]


def disturbed() -> list[PlainSlab]:
    """Return slabs as cut, noisy, as supercells with a tilted c, turned, and lying across the boundary."""
    rng = np.random.default_rng(0)
    found = []
    for i, structure in enumerate(STRUCTURES):
        one = structure.copy()
        if i % 5 == 1:
            one = one * ([[2, 1, 0], [0, 1, 0], [1, 0, 1]])
        plain = PlainSlab.from_structure(one)
        fractional, lattice = plain.fractional, plain.lattice
        if i % 5 == 2:
            turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
            lattice = lattice @ turn
        if i % 5 == 3:
            fractional = fractional + np.array([0.3, 0.8, 0.47])
        if i % 5 == 4:
            fractional = fractional + rng.normal(scale=1e-3, size=fractional.shape)
        found.append(PlainSlab(plain.numbers, lattice, fractional))
    return found


def assert_same(made: SlabGraph, plain: SlabGraph) -> None:
    assert (made.thickness, made.area) == pytest.approx((plain.thickness, plain.area), rel=1e-14)
    for name in ("numbers", "offsets", "neighbours", "multiplicity", "edge_multiplicity"):
        one, other = getattr(made, name), getattr(plain, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    for name in ("depth", "distances"):
        one, other = getattr(made, name), getattr(plain, name)
        assert one.dtype == other.dtype == np.float32
        # a unit in the last place where the cell is turned: its products are summed in another order
        np.testing.assert_array_max_ulp(one, other, 4)
    np.testing.assert_allclose(made.cosines, plain.cosines, rtol=0, atol=COSINE_TOLERANCE)


def test_compiled_code_makes_the_graphs_of_the_plain_code() -> None:
    requested = disturbed()
    made = compiled_graphs(requested, BEST)
    by_plain_code = 0
    for one, slab in zip(made, requested, strict=True):
        plain = graph_or_reason(slab, BEST)
        assert isinstance(one, SlabGraph) and isinstance(plain, SlabGraph)
        assert_same(one, plain)
        by_plain_code += one.identity != ""
    assert by_plain_code == 0
    assert any(slab_thickness < 20 for slab_thickness in (np.ptp(s.cart_coords[:, 2]) for s in STRUCTURES))


def test_what_is_no_slab_has_the_reason_of_the_plain_code() -> None:
    good = PlainSlab.from_structure(STRUCTURES[0])
    numbers, lattice, fractional = good.numbers, good.lattice, good.fractional
    nothing = PlainSlab(numbers[:0], lattice, fractional[:0])
    strange = [
        PlainSlab(numbers, lattice, np.where(fractional > 0.5, np.nan, fractional)),
        PlainSlab(numbers, lattice * [[1], [1], [0]], fractional),
        PlainSlab(numbers, lattice[[2, 0, 1]], fractional[:, [2, 0, 1]]),
        PlainSlab(np.tile(numbers, 2), lattice, np.vstack([fractional, fractional + np.array([0, 0, 1e-4])])),
        PlainSlab(numbers[:1], np.eye(3) * 20, fractional[:1]),
        PlainSlab(np.tile(numbers, 2), lattice * [[1], [1], [2]],
                  np.vstack([fractional * [1, 1, 0.5], fractional * [1, 1, 0.5] + [0, 0, 0.5]])),
        PlainSlab.from_structure(Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])),
    ]  # fmt: skip
    made = compiled_graphs([nothing, good, *strange], BEST)
    assert isinstance(made[1], SlabGraph)
    for one, slab in zip([made[0], *made[2:]], [nothing, *strange], strict=True):
        assert isinstance(one, InputError)
        assert str(one) == str(graph_or_reason(slab, BEST))


def test_many_neighbours_and_few_are_right_too() -> None:
    requested = [PlainSlab.from_structure(s) for s in STRUCTURES[::3]]
    for settings in (
        GraphSettings(max_neighbours=80, fold=True, whole_shells=True),  # more than there is room for
        GraphSettings(max_neighbours=3, cutoff=3.0, fold=True, whole_shells=True),
        GraphSettings(cutoff=1.0, fold=True, whole_shells=True),  # no edges
    ):
        for one, slab in zip(compiled_graphs(requested, settings), requested, strict=True):
            plain = graph_or_reason(slab, settings)
            assert isinstance(one, SlabGraph) and isinstance(plain, SlabGraph)
            assert_same(one, plain)


def test_threads_make_the_same_graphs() -> None:
    requested = [PlainSlab.from_structure(s) for s in STRUCTURES]
    here = compiled_graphs(requested, BEST)
    with ThreadPoolExecutor(3) as pool:
        for there in pool.map(lambda _: compiled_graphs(requested, BEST), range(6)):
            for one, other in zip(here, there, strict=True):
                assert isinstance(one, SlabGraph) and isinstance(other, SlabGraph)
                np.testing.assert_array_equal(one.cosines, other.cosines)
                np.testing.assert_array_equal(one.neighbours, other.neighbours)


def test_cut_shells_are_not_compiled_nor_is_anything_without_numba(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert can_compile(BEST)
    assert not can_compile(PRESETS["sem-cgcnn"].graph)
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in ("model.graphs.frame_kernels", "model.graphs.graph_kernels", "model.network.compiled"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module._kernels.cache_clear()
    try:
        assert not can_compile(BEST)
    finally:
        module._kernels.cache_clear()
