"""DFT and predicted Wulff shapes: published shapes, pymatgen's, errors by facet."""

import numpy as np
import pytest
from pymatgen.analysis.wulff import WulffShape
from pymatgen.core import Lattice, Structure

from workflows.analysis.wulff_comparison import PredictedSlab, compare_shapes
from workflows.analysis.wulff_draws import Termination
from workflows.structures.crystal import crystal_of

FCC = crystal_of(Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.9), ["Pt"], [[0, 0, 0]]))

# surface energy (J/m2) and share of the area of the Wulff shape of Ir (mp-101), Tran et al., Sci. Data 3,
# 160080 (2016), doi 10.1038/sdata.2016.80
IRIDIUM = {
    (1, 0, 0): (2.8177, 0.12412),
    (1, 1, 0): (2.7720, 0.0),
    (1, 1, 1): (2.2845, 0.66852),
    (2, 1, 0): (3.0368, 0.0),
    (2, 1, 1): (2.7091, 0.05369),
    (2, 2, 1): (2.5863, 0.09238),
    (3, 1, 0): (3.0188, 0.0),
    (3, 1, 1): (2.8466, 0.01044),
    (3, 2, 0): (2.9461, 0.0),
    (3, 2, 1): (2.8571, 0.0),
    (3, 2, 2): (2.5578, 0.05086),
    (3, 3, 1): (2.7079, 0.0),
    (3, 3, 2): (2.4989, 0.0),
}
# surface energies (J/m2) of Pt (mp-126) from the same source
PLATINUM = {
    (1, 0, 0): 1.8559, (1, 1, 0): 1.6806, (1, 1, 1): 1.4878, (2, 1, 0): 1.8869, (2, 1, 1): 1.7629,
    (2, 2, 1): 1.5994, (3, 1, 0): 1.8778, (3, 1, 1): 1.7914, (3, 2, 0): 1.8942, (3, 2, 1): 1.7683,
    (3, 2, 2): 1.5929, (3, 3, 1): 1.7055, (3, 3, 2): 1.5611,
}  # fmt: skip


def slab(name, plane, dft, predicted, phi=(None, None), sigma=0.0):
    return PredictedSlab(
        name,
        Termination(plane, "Pt", dft, work_function=phi[0]),
        Termination(plane, "Pt", predicted, sigma, phi[1], source="model"),
    )


def test_the_shape_of_iridium_is_the_published_one():
    slabs = [slab(str(h), h, gamma / 16.02177, gamma / 16.02177) for h, (gamma, _) in IRIDIUM.items()]
    found = compare_shapes("Ir", FCC, slabs)
    shares = {facet.miller_index: facet.area_dft for facet in found.facets}
    assert shares == pytest.approx({h: share for h, (_, share) in IRIDIUM.items()}, abs=2e-4)
    assert {facet.area_predicted for facet in found.facets} == {facet.area_dft for facet in found.facets}


def test_the_shape_of_platinum_is_that_of_pymatgen():
    slabs = [slab(str(h), h, gamma / 16.02177, 0.1) for h, gamma in PLATINUM.items()]
    found = compare_shapes("Pt", FCC, slabs)
    shape = WulffShape(Lattice.cubic(3.9), list(PLATINUM), list(PLATINUM.values()))
    assert {f.miller_index: f.area_dft for f in found.facets} == pytest.approx(shape.area_fraction_dict)
    assert found.dft.surface_energy * 16.02177 == pytest.approx(shape.weighted_surface_energy)
    assert found.dft.surface_energy * 16.02177 == pytest.approx(1.596, abs=1e-3)


def test_errors_are_those_of_the_lowest_terminations():
    slabs = [
        slab("a", (1, 0, 0), 0.05, 0.06, (4.0, 4.2), 0.01),
        slab("b", (1, 0, 0), 0.07, 0.055, (5.0, 4.9), 0.01),
        slab("c", (1, 1, 1), 0.04, 0.05, (3.9, None), 0.01),
    ]
    found = compare_shapes("X", FCC, slabs, "m")
    first, second = found.facets
    assert (first.dft.name, first.predicted.name, first.same_termination) == ("a", "b", False)
    assert (first.surface_energy_error, first.work_function_error) == pytest.approx((0.005, 0.9))
    assert (second.same_termination, second.work_function_error) == (True, None)
    assert found.errors() == pytest.approx(
        {
            "surface_energy_mae_facets": 0.0075,
            "work_function_mae_facets": 0.9,
            "surface_energy_mae_slabs": np.mean([0.01, 0.015, 0.01]),
            "work_function_mae_slabs": 0.15,
        }
    )
    assert found.dft.surface_energy_sigma == 0 and found.predicted.surface_energy_sigma > 0.003
    assert found.predicted.work_function is None and "work function" in found.predicted.reason


def test_a_shape_that_is_missing_has_a_reason():
    open_shape = compare_shapes("X", crystal_of(hexagonal()), [slab("a", (0, 0, 1), 0.05, 0.06)])
    assert "more facets are needed" in open_shape.dft.reason and "more facets" in open_shape.predicted.reason
    (facet,) = open_shape.facets
    assert (facet.area_dft, facet.area_predicted, facet.surface_energy_error) == (
        None,
        None,
        pytest.approx(0.01),
    )
    negative = compare_shapes("X", FCC, [slab("a", (1, 1, 1), 0.05, -0.01)])
    assert negative.dft.surface_energy == pytest.approx(0.05)
    assert negative.predicted.surface_energy is None and "not positive" in negative.predicted.reason


def hexagonal():
    return Structure(Lattice.hexagonal(3.2, 5.2), ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
