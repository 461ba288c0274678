import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.wulff import WulffShape
from pymatgen.core import Lattice, Structure

from stores.errors import InputError
from workflows.analysis.wulff import Facet, facets_from_records, wulff

MGAG = Structure(Lattice.cubic(3.34), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
MG = Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(3.19, 5.18), ["Mg"], [[1 / 3, 2 / 3, 0.25]])
MG3SB2 = Structure.from_spacegroup(
    "P-3m1",
    Lattice.hexagonal(4.59, 7.25),
    ["Mg", "Mg", "Sb"],
    [[0, 0, 0], [1 / 3, 2 / 3, 0.63], [1 / 3, 2 / 3, 0.23]],
)


def by_miller(result):
    return dict(zip((f.miller_index for f in result.facets), result.area_fractions, strict=True))


def test_cube():
    result = wulff(MGAG, [Facet((1, 0, 0), 0.05, 4.0)])
    # only {100}: a cube; area 24 d^2, volume 8 d^3, 24/8^(2/3) = 6
    assert result.shape_factor == pytest.approx(6.0)
    assert result.surface_energy == pytest.approx(0.05)
    assert result.work_function == pytest.approx(4.0)
    assert result.area_fractions == pytest.approx((1.0,))
    assert len(result.polygons) == 6
    assert all(len(corners) == 4 for _, corners in result.polygons)


def test_truncated_cube_by_hand():
    # {100} at distance 1, {111} at t = 1.6: each corner (1,1,1) loses a tetrahedron with legs
    # L = 3 - 1.6 sqrt(3) = 0.22872 (plane x+y+z = t sqrt(3)); area of a triangle L^2 sqrt(3)/2.
    # {111}: 8 L^2 sqrt(3)/2; {100}: 6 (4 - 4 L^2/2)
    L = 3 - 1.6 * math.sqrt(3)
    area_111, area_100 = 8 * L**2 * math.sqrt(3) / 2, 6 * (4 - 2 * L**2)
    result = wulff(MGAG, [Facet((1, 0, 0), 0.05, 3.4), Facet((1, 1, 1), 0.08, 3.9)])
    share = area_111 / (area_111 + area_100)
    assert by_miller(result)[1, 1, 1] == pytest.approx(share, rel=1e-6)
    assert result.work_function == pytest.approx(3.4 + 0.5 * share)
    assert result.surface_energy == pytest.approx(0.05 + 0.03 * share)


def test_lowest_termination_counts_at_each_chemical_potential():
    mg, ag = Facet((1, 0, 0), 0.0364, 3.378, "Mg", -0.045), Facet((1, 0, 0), 0.0778, 4.304, "Ag", 0.045)
    assert wulff(MGAG, [ag, mg]).work_function == pytest.approx(3.378)
    rich = wulff(MGAG, [mg, ag], dmu=-0.6)  # 0.0364 + 0.027 = 0.0634; 0.0778 - 0.027 = 0.0508
    assert rich.work_function == pytest.approx(4.304)
    assert rich.surface_energy == pytest.approx(0.0508)


def test_equivalent_indices_are_one_family():
    result = wulff(MGAG, [Facet((1, 0, 0), 0.05), Facet((0, -1, 0), 0.04), Facet((2, 0, 0), 0.06)])
    assert len(result.facets) == 1
    assert result.surface_energy == pytest.approx(0.04)


def test_101_and_10_1_of_mg3sb2_stay_distinct():
    low, high = 0.03, 0.06
    facets = [Facet((0, 0, 1), 0.05), Facet((1, 0, 1), low), Facet((1, 0, -1), high)]
    shares = by_miller(wulff(MG3SB2, facets))
    assert set(shares) == {(0, 0, 1), (1, 0, 1), (1, 0, -1)}
    swapped = [Facet((0, 0, 1), 0.05), Facet((1, 0, 1), high), Facet((1, 0, -1), low)]
    other = by_miller(wulff(MG3SB2, swapped))
    assert shares[1, 0, 1] == pytest.approx(other[1, 0, -1])
    assert shares[1, 0, 1] > 0.5
    assert shares[1, 0, -1] < shares[1, 0, 1]
    # six planes of one trigonal family enclose a rhombohedron by themselves
    assert len(wulff(MG3SB2, [Facet((1, 0, 1), low)]).polygons) == 6
    # pymatgen's own class gives all twelve planes to the first of the two
    naive = WulffShape(MG3SB2.lattice, [(1, 0, 1), (1, 0, -1)], [1.0, 2.0])
    assert sum(plane.index == 0 for plane in naive.facets) == 12


def test_hcp_magnesium_against_pymatgens_own_construction():
    facets = [Facet((0, 0, 1), 0.034, 3.7), Facet((1, 0, 0), 0.038, 3.6), Facet((1, 0, 1), 0.042, 3.65)]
    result = wulff(MG, facets)
    naive = WulffShape(MG.lattice, [f.miller_index for f in facets], [f.surface_energy for f in facets])
    # (101) and (10-1) are equivalent in P6_3/mmc: both constructions must agree here
    assert result.area_fractions == pytest.approx([naive.area_fraction_dict[f.miller_index] for f in facets])
    assert result.surface_energy == pytest.approx(naive.weighted_surface_energy)


@settings(max_examples=20, deadline=None)
@given(
    energies=st.tuples(*[st.floats(0.02, 0.12)] * 3),
    scale=st.floats(0.01, 100),
)
def test_shape_depends_on_ratios_only_and_polygons_carry_the_area(energies, scale):
    millers = [(1, 0, 0), (1, 1, 0), (1, 1, 1)]
    one = wulff(MGAG, [Facet(m, e) for m, e in zip(millers, energies, strict=True)])
    big = wulff(MGAG, [Facet(m, e * scale) for m, e in zip(millers, energies, strict=True)])
    assert one.area_fractions == pytest.approx(big.area_fractions, abs=1e-6)
    assert sum(one.area_fractions) == pytest.approx(1.0)
    assert min(energies) - 1e-9 <= one.surface_energy <= max(energies) + 1e-9
    assert one.shape_factor >= 4.8359  # a sphere's (36 pi)^(1/3): no body has less
    areas = np.zeros(3)
    for index, p in one.polygons:
        fan = np.cross(p[1:-1] - p[0], p[2:] - p[0]).sum(axis=0)
        areas[index] += np.linalg.norm(fan) / 2
    assert areas / areas.sum() == pytest.approx(one.area_fractions, abs=1e-5)


def test_too_few_facets_give_one_line():
    result = wulff(MG, [Facet((0, 0, 1), 0.034)])
    assert result.shape is None and result.surface_energy is None
    assert "do not enclose a volume" in result.reason and "\n" not in result.reason
    assert "no facet" in wulff(MG, []).reason


def test_negative_surface_energy_gives_one_line():
    result = wulff(MGAG, [Facet((1, 0, 0), 0.05), Facet((1, 1, 0), -0.01, label="(110)")])
    assert result.shape is None and "not positive" in result.reason
    # only at this chemical potential
    assert "dmu = -1.000" in wulff(MGAG, [Facet((1, 0, 0), 0.05, slope=0.06)], dmu=-1.0).reason
    assert "not positive" in wulff(MGAG, [Facet((1, 0, 0), math.nan)]).reason


def test_unknown_work_function_leaves_the_average_open():
    result = wulff(MGAG, [Facet((1, 0, 0), 0.05), Facet((1, 1, 1), 0.2, 3.0)])
    assert result.shape is not None and result.work_function is None
    assert "no weighted work function" in result.reason
    # (111) does not appear on the shape: its missing value does not matter
    assert wulff(MGAG, [Facet((1, 0, 0), 0.05, 4.0), Facet((1, 1, 1), 0.2)]).work_function == pytest.approx(4)


def test_000_is_refused():
    with pytest.raises(InputError, match="000"):
        wulff(MGAG, [Facet((0, 0, 0), 0.05)])


def test_only_accepted_values_are_taken_from_records():
    def record(miller, gamma_verdict, phi_verdict):
        return {
            "miller_index": miller, "surface_energy": 0.05, "work_function": 4.0, "termination_label": "Mg",
            "surface_energy_slope": -0.04,
            "verdicts": {
                "surface_energy": {"status": gamma_verdict},
                "work_function": {"status": phi_verdict},
            },
        }  # fmt: skip

    records = [
        record([1, 0, 0], "accepted", "accepted"),
        record([1, 1, 0], "reconstructed", "accepted"),
        record([1, 1, 1], "accepted", "vacuum_not_flat"),
    ]
    facets = facets_from_records(records)
    assert [(f.miller_index, f.work_function) for f in facets] == [((1, 0, 0), 4.0), ((1, 1, 1), None)]
    assert facets[0].slope == -0.04
    del records[0]["surface_energy_slope"]  # known at the Mg-rich end only
    assert [f.miller_index for f in facets_from_records(records, dmu=-0.1)] == [(1, 1, 1)]
