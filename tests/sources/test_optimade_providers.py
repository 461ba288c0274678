"""The table of providers and what is requested of them."""

from __future__ import annotations

from typing import Any

import pytest
from optimade.filterparser import LarkParser

from stores.errors import InputError
from workflows.structures.sources.filters import CandidateFilter
from workflows.structures.sources.optimade import OptimadeSource
from workflows.structures.sources.optimade_providers import (
    PROVIDERS,
    base_url,
    essential_filter,
    full_filter,
    meets_full,
    provider_at,
    provider_named,
)
from workflows.structures.sources.protocol import DatabaseValues

MP, OQMD, ALEXANDRIA = (provider_named(name) for name in ("mp", "oqmd", "alexandria"))
assert MP and OQMD and ALEXANDRIA


def test_providers_by_name_and_by_address() -> None:
    for provider in PROVIDERS:
        assert provider_named(provider.name.upper()) is provider
        for ending in ("", "/", "/v1", "/v1.2/structures?filter=nelements=2"):
            assert provider_named(provider.base_url + ending) is provider
    assert provider_named("https://example.org/optimade/v1/") is None
    assert base_url("https://example.org/optimade/v1/") == "https://example.org/optimade"


@pytest.mark.parametrize("text", ["nomad", "", "oqmd.org/optimade", "ftp://oqmd.org", "https://"])
def test_what_is_no_provider_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match="no OPTIMADE provider: use mp, oqmd, alexandria") as caught:
        provider_named(text)
    assert "\n" not in str(caught.value)


def test_a_mirror_has_the_properties_of_what_it_mirrors() -> None:
    mirror = provider_at("http://127.0.0.1:8000/a", "oqmd")
    assert (mirror.name, mirror.properties) == ("oqmd", OQMD.properties)
    assert mirror.base_url == "http://127.0.0.1:8000/a"
    assert provider_at("http://127.0.0.1/pbesol", "alexandria").energies[0].method == "alexandria PBEsol"
    assert provider_at("http://127.0.0.1/pbe", "alexandria").energies[0].method == "alexandria PBE"
    unknown = provider_at("https://example.org/api", None)
    assert unknown.properties == ()
    assert unknown.identify("7", {}) == "example.org/api:7"


def test_identifiers_are_unambiguous() -> None:
    assert MP.identify("mp-1094116", {}) == "mp-1094116"
    assert OQMD.identify("4061139", {"_oqmd_entry_id": 5012}) == "oqmd-5012"
    assert OQMD.identify("4061139", {"_oqmd_entry_id": None}) == "oqmd-4061139"
    names = [provider.identify("1", {}) for provider in PROVIDERS if provider.name != "mp"]
    assert len(set(names)) == len(names)


def test_values_keep_methods_apart() -> None:
    stability = {
        "gga_gga+u": {"energy_above_hull": 0.0, "formation_energy_per_atom": -0.2},
        "r2scan": {"energy_above_hull": 0.01, "formation_energy_per_atom": -0.25},
        "gga_gga+u_r2scan": None,
    }
    assert MP.values({"_mp_stability": stability}) == (
        DatabaseValues("mp GGA_GGA+U", -0.2, 0.0),
        DatabaseValues("mp R2SCAN", -0.25, 0.01),
    )
    attributes = {"_oqmd_delta_e": -0.1, "_oqmd_stability": 0, "_oqmd_band_gap": 0.0}
    assert OQMD.values(attributes) == (DatabaseValues("oqmd", -0.1, 0.0, 0.0),)


@pytest.mark.parametrize("value", [None, "N/A", True, float("nan"), float("inf"), -99999, [0.1], {"a": 1}])
def test_what_is_no_number_is_no_value(value: Any) -> None:
    assert OQMD.values({"_oqmd_delta_e": value}) == ()
    assert MP.values({"_mp_stability": value}) == ()


def test_filter_text() -> None:
    wanted = CandidateFilter(partners=("Zn", "Ag"), max_atoms=30)
    assert essential_filter(wanted) == 'elements HAS ALL "Mg" AND nelements=2'
    assert full_filter(wanted) == f'{essential_filter(wanted)} AND elements HAS ANY "Ag","Zn" AND nsites<=120'
    for one in (wanted, CandidateFilter(), CandidateFilter(max_elements=4)):
        assert LarkParser().parse(full_filter(one))


def test_conditions_are_checked_here_too() -> None:
    wanted = CandidateFilter(partners=("Zn", "Ag"), max_elements=3, max_atoms=10)
    assert meets_full(wanted, {"Mg", "Zn"}, 40)
    assert meets_full(wanted, {"Mg", "Zn", "Ag"}, 2)
    assert not meets_full(wanted, {"Mg", "Zn"}, 41)
    assert not meets_full(wanted, {"Mg", "Zn", "Cu"}, 2)
    assert not meets_full(wanted, {"Zn", "Ag"}, 2)
    assert not meets_full(wanted, {"Mg"}, 2)
    assert not meets_full(CandidateFilter(exclude=("Zn",)), {"Mg", "Zn"}, 2)


def test_a_provider_named_twice_is_asked_once() -> None:
    source = OptimadeSource(["oqmd", "OQMD", "https://oqmd.org/optimade/v1", "mp"])
    assert [provider.name for provider, _ in source.providers] == ["oqmd", "mp"]
