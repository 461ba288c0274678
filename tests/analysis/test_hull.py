from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from stores.errors import InputError
from workflows.analysis.hull import HullEntry, keep_near_hull
from workflows.structures.sources.protocol import DatabaseValues


@dataclass
class Compound:
    formula: str
    values: tuple[DatabaseValues, ...] = ()


def values(method, formation=None, above=None):
    return DatabaseValues(method, formation_energy=formation, energy_above_hull=above)


def names(result):
    return [c.formula for c in result.kept], [c.formula for c in result.removed]


def test_stated_energies_decide_and_the_limit_is_included():
    result = keep_near_hull(
        [
            Compound("MgAg", (values("mp GGA_GGA+U", above=0.0),)),
            Compound("Mg2Ag", (values("mp GGA_GGA+U", above=0.05),)),
            Compound("MgAg2", (values("mp GGA_GGA+U", above=0.0501),)),
        ],
        0.05,
    )
    assert names(result) == (["MgAg", "Mg2Ag"], ["MgAg2"])
    assert result.lines() == [
        "1 of 3 compounds are more than 0.05 eV/atom above the hull and are left out",
        "energies above the hull as stated by mp GGA_GGA+U (3)",
    ]


def test_formation_energies_make_a_hull_where_nothing_is_stated():
    result = keep_near_hull(
        [
            Compound("MgAg", (values("aflow", formation=-0.3),)),
            Compound("Mg3Ag", (values("aflow", formation=-0.05),)),  # 0.1 above Mg + MgAg
            Compound("MgAg3", (values("aflow", formation=-0.12),)),  # 0.03 above
        ],
        0.05,
    )
    assert names(result) == (["MgAg", "MgAg3"], ["Mg3Ag"])
    assert result.removed_positions[0].energy_above_hull == pytest.approx(0.1)
    assert not result.removed_positions[0].stated
    assert "phases that are not listed are missing" in result.lines()[-1]


def test_phases_left_out_by_other_filters_compete_all_the_same():
    compounds = [Compound("MgAg", (values("aflow", formation=-0.1),))]
    assert names(keep_near_hull(compounds, 0.05)) == (["MgAg"], [])
    large = [HullEntry("Mg54Ag17", -0.2, "aflow"), HullEntry("MgAg3", -0.2, "aflow")]
    assert names(keep_near_hull(compounds, 0.05, competing=large)) == ([], ["MgAg"])
    assert names(keep_near_hull(compounds, 0.05, [HullEntry("MgAg3", math.nan, "aflow")])) == (["MgAg"], [])
    # of another method: another hull
    other = [HullEntry(e.formula, e.formation_energy, "oqmd") for e in large]
    assert names(keep_near_hull(compounds, 0.05, competing=other)) == (["MgAg"], [])


def test_methods_make_hulls_of_their_own():
    """By its own method MgAg is on the hull; the stronger binding of the other would exclude it."""
    result = keep_near_hull(
        [
            Compound("MgAg", (values("aflow", formation=-0.1),)),
            Compound("Mg3Ag", (values("oqmd", formation=-0.4),)),
            Compound("MgAg3", (values("oqmd", formation=-0.4),)),
        ],
        0.0,
    )
    assert names(result)[1] == []


def test_without_an_energy_a_compound_is_kept_and_counted():
    nan = DatabaseValues("oqmd", formation_energy=math.nan, energy_above_hull=math.inf)
    gap = DatabaseValues("mp", band_gap=0.0)
    result = keep_near_hull([Compound("MgAg"), Compound("MgPd", (nan,)), Compound("MgCu2", (gap,))], 0.02)
    assert names(result) == (["MgAg", "MgPd", "MgCu2"], [])
    assert result.kept_positions == [None] * 3
    assert result.without_energy == 3
    assert "3 without an energy are kept" in result.lines()


def test_the_preferred_database_decides_not_the_friendliest():
    given = (values("oqmd", -0.2, 0.0), values("mp GGA_GGA+U", -0.2, 0.08), values("zoo", -0.2, 0.001))
    for order in (given, given[::-1]):
        result = keep_near_hull([Compound("MgAg", order)], 0.05)
        assert names(result) == ([], ["MgAg"])
        (position,) = result.removed_positions
        assert (position.method, position.energy_above_hull) == ("mp GGA_GGA+U", 0.08)
        assert position.others == {"oqmd": 0.0, "zoo": 0.001}
        assert result.lines()[-1] == (
            "MgAg: left out with 0.080 eV/atom above the hull by mp GGA_GGA+U, "
            "though it is 0.000 by oqmd, 0.001 by zoo"
        )


def test_a_stated_energy_comes_before_a_hull_of_a_preferred_method():
    result = keep_near_hull([Compound("MgAg", (values("mp", -0.2), values("oqmd", -0.2, 0.3)))], 0.05)
    (position,) = result.removed_positions
    assert (position.method, position.stated) == ("oqmd", True)
    assert position.others == {"mp": 0.0}


def test_one_crystal_twice_in_one_database_counts_with_the_lower_energy():
    result = keep_near_hull([Compound("MgAg", (values("oqmd", -0.2, 0.3), values("oqmd", -0.3, 0.01)))], 0.05)
    assert [p.energy_above_hull for p in result.kept_positions] == [0.01]


def test_a_stability_below_zero_is_on_the_hull():
    (position,) = keep_near_hull([Compound("MgAg", (values("oqmd", above=-0.04),))], 0.0).kept_positions
    assert position.energy_above_hull == 0.0


def test_without_a_limit_all_are_kept_with_their_positions():
    result = keep_near_hull([Compound("MgAg", (values("oqmd", above=0.4),)), Compound("MgPd")], None)
    assert names(result) == (["MgAg", "MgPd"], [])
    assert result.kept_positions[0].energy_above_hull == 0.4
    assert result.lines() == ["1 without an energy are kept", "energies above the hull as stated by oqmd (1)"]


def test_nothing_in_nothing_out():
    assert keep_near_hull([], 0.05).lines() == [
        "0 of 0 compounds are more than 0.05 eV/atom above the hull and are left out"
    ]


@pytest.mark.parametrize("limit", [-0.01, math.nan, math.inf])
def test_a_limit_that_is_no_energy_is_refused(limit):
    with pytest.raises(InputError, match="max_energy_above_hull"):
        keep_near_hull([], limit)
