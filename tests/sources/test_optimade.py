"""Structures from the reference OPTIMADE server, through the same code that asks the real providers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp

from tests.sources.faulty_server import FaultyServer, resource
from tests.sources.optimade_server import entry, optimade_server
from workflows.structures.sources.filters import CandidateFilter
from workflows.structures.sources.optimade import OptimadeSource
from workflows.structures.sources.protocol import Candidate

MGZN2 = Structure.from_spacegroup(
    "P6_3/mmc",
    Lattice.hexagonal(5.22, 8.57),
    ["Mg", "Zn", "Zn"],
    [[1 / 3, 2 / 3, 0.062], [0, 0, 0], [0.8305, 0.661, 0.25]],
)
HEUSLER = Structure.from_spacegroup(
    "Fm-3m",
    Lattice.cubic(6.4),
    ["Mg", "Cu", "Zn"],
    [[0, 0, 0], [0.25, 0.25, 0.25], [0.5, 0.5, 0.5]],
)
PARTNERS = ["Ag", "Al", "Au", "Cd", "Cu", "Hg", "La", "Ni", "Pd", "Sc", "Tc", "Y", "Zn"]


def b2(partner: str, a: float = 3.3) -> Structure:
    return Structure(Lattice.cubic(a), ["Mg", partner], [[0, 0, 0], [0.5, 0.5, 0.5]])


def turned(structure: Structure) -> Structure:
    """The same crystal in another setting: supercell, origin, orientation, order of sites."""
    other = structure.copy() * [[1, 1, 0], [0, 1, 0], [0, 0, 2]]
    other.translate_sites(list(range(len(other))), [0.13, 0.27, 0.41])
    other.apply_operation(SymmOp.from_axis_angle_and_translation([1, 2, 3], 37))
    sites = list(other)
    random.Random(1).shuffle(sites)
    return Structure.from_sites(sites)


def served() -> dict[str, list[dict[str, Any]]]:
    first, second = PARTNERS[: len(PARTNERS) // 2], PARTNERS[len(PARTNERS) // 2 :]
    mp = [entry(b2(p), f"mp-{i}") for i, p in enumerate(PARTNERS)]
    for i, attributes in enumerate(mp):
        attributes["_mp_stability"] = {
            "gga_gga+u": {"energy_above_hull": 0.02 * i, "formation_energy_per_atom": -0.1},
            "r2scan": {"energy_above_hull": 0.0, "formation_energy_per_atom": -0.2},
        }
    mp += [
        entry(MGZN2, "mp-978"),
        entry(HEUSLER, "mp-5000"),
        entry(Structure(Lattice.cubic(4.05), ["Al"], [[0, 0, 0]]), "mp-134"),
        entry(
            Structure(Lattice.hexagonal(3.2, 5.2), ["Mg"] * 2, [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]),
            "mp-153",
        ),
    ]
    oqmd = [
        entry(
            b2(p, 3.35),
            str(1000 + i),
            _oqmd_entry_id=10 + i,
            _oqmd_delta_e=-0.1,
            _oqmd_stability=0.03 * i,
            _oqmd_band_gap=0.0,
        )
        for i, p in enumerate(first)
    ]
    oqmd.append(entry(turned(MGZN2), "1978", _oqmd_entry_id=5012, _oqmd_delta_e=-0.12, _oqmd_stability=0.0))
    oqmd.append(entry(b2("Zn"), "1999", _oqmd_entry_id=20, _oqmd_delta_e=-0.01, _oqmd_stability=None))
    alexandria = [
        entry(b2(p, 3.32), f"agm{i:09d}", _alexandria_hull_distance=0.05, _alexandria_band_gap=0.0)
        for i, p in enumerate(second)
    ]
    alexandria.append(entry(MGZN2.get_primitive_structure() * 2, "agm000978"))
    return {"mp": mp, "oqmd": oqmd, "alexandria": alexandria}


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with optimade_server(served(), page_limit=5) as addresses:
        yield addresses


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("optimade") / "sources.sqlite"


def identifiers(candidates: list[Candidate]) -> list[str]:
    return [candidate.provenance.identifiers[0] for candidate in candidates]


def test_binaries_of_three_providers(urls: dict[str, str], shared_cache: Path) -> None:
    news_of: list[tuple[str, int, int | None]] = []
    source = OptimadeSource(
        [urls["oqmd"], urls["mp"], urls["alexandria"]],
        CandidateFilter(max_atoms=30),
        cache=shared_cache,
        progress=lambda *news: news_of.append(news),
    )
    found = list(source.candidates())
    assert source.problems == []
    expected = {f"mp-{i}" for i in range(len(PARTNERS))} | {"mp-978"}
    expected |= {f"oqmd-{10 + i}" for i in range(6)} | {"oqmd-5012", "oqmd-20"}
    expected |= {f"alexandria:agm{i:09d}" for i in range(7)} | {"alexandria:agm000978"}
    assert set(identifiers(found)) == expected
    assert len(found) == len(expected)
    assert [c.provenance.source for c in found] == ["oqmd"] * 8 + ["mp"] * 14 + ["alexandria"] * 8
    # the numbers of structures grow page by page, to what the server announced
    counts = [(came, total) for name, came, total in news_of if name == "mp"]
    assert counts == [(5, 14), (10, 14), (14, 14)]


def test_the_same_compound_comes_under_three_names(urls: dict[str, str], shared_cache: Path) -> None:
    source = OptimadeSource(
        list(urls.values()), CandidateFilter(partners=["Zn"], max_atoms=30), cache=shared_cache
    )
    found = {c.provenance.identifiers[0]: c for c in source.candidates()}
    same = [found[name] for name in ("mp-978", "oqmd-5012", "alexandria:agm000978")]
    assert [c.label for c in same] == ["MgZn2 mp-978", "MgZn2 oqmd-5012", "MgZn2 alexandria:agm000978"]
    matcher = StructureMatcher()
    assert all(matcher.fit(same[0].structure, other.structure) for other in same[1:])


def test_energies_come_with_their_method(urls: dict[str, str], shared_cache: Path) -> None:
    source = OptimadeSource(list(urls.values()), CandidateFilter(max_atoms=30), cache=shared_cache)
    found = {c.provenance.identifiers[0]: c.values for c in source.candidates()}
    assert [(v.method, v.energy_above_hull) for v in found["mp-2"]] == [
        ("mp GGA_GGA+U", 0.04),
        ("mp R2SCAN", 0.0),
    ]
    assert [(v.method, v.formation_energy, v.band_gap) for v in found["oqmd-11"]] == [("oqmd", -0.1, 0.0)]
    assert [(v.method, v.energy_above_hull) for v in found["alexandria:agm000000001"]] == [
        ("alexandria PBE", 0.05)
    ]
    assert found["alexandria:agm000978"] == ()


def test_the_order_is_the_same_every_time(urls: dict[str, str], tmp_path: Path, shared_cache: Path) -> None:
    def once(cache: Path, names: list[str]) -> list[tuple[str, bytes]]:
        source = OptimadeSource([urls[name] for name in names], CandidateFilter(max_atoms=30), cache=cache)
        return [
            (c.provenance.identifiers[0], np.asarray(c.structure.frac_coords).tobytes())
            for c in source.candidates()
        ]

    first = once(shared_cache, ["mp", "oqmd", "alexandria"])
    assert once(tmp_path / "other.sqlite", ["mp", "oqmd", "alexandria"]) == first
    assert sorted(once(shared_cache, ["alexandria", "oqmd", "mp"])) == sorted(first)


def test_partners_and_exclusions(urls: dict[str, str], tmp_path: Path) -> None:
    def ask(**limits: Any) -> set[str]:
        source = OptimadeSource([urls["mp"]], CandidateFilter(**limits), cache=tmp_path / "sources.sqlite")
        found = {c.structure.composition.chemical_system for c in source.candidates()}
        assert source.problems == []
        return found

    assert ask(partners=["Zn", "Au"]) == {"Mg-Zn", "Au-Mg"}
    assert ask(exclude=["Tc", "La", "Hg"]) >= {"Mg-Zn", "Mg-Sc"}
    assert not {"Mg-Tc", "La-Mg", "Hg-Mg"} & ask(exclude=["Tc", "La", "Hg"])
    assert "Cu-Mg-Zn" in ask(max_elements=3)
    assert ask(max_elements=3, partners=["Cu"]) == {"Cu-Mg"}


def test_small_cells_only(urls: dict[str, str], tmp_path: Path) -> None:
    source = OptimadeSource([urls["oqmd"]], CandidateFilter(max_atoms=4), cache=tmp_path / "sources.sqlite")
    assert "oqmd-5012" not in identifiers(list(source.candidates()))  # 24 sites


def test_bad_structures_are_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    mixed = [{"name": "Mg", "chemical_symbols": ["Mg", "Zn"], "concentration": [0.5, 0.5]}]
    holes = [{"name": "Ag", "chemical_symbols": ["Ag", "vacancy"], "concentration": [0.9, 0.1]}]
    bad: list[dict[str, Any]] = [
        *({"species": mixed} for _ in range(3)),
        {"species": holes},
        {"species_at_sites": None, "species": None},
        {"species_at_sites": ["Mg", "X"]},
        {"lattice_vectors": [[0.0, 0.0, 0.0]] * 3},
        {"cartesian_site_positions": None},
    ]
    entries = [entry(b2("Ag"), f"agm{i}", **change) for i, change in enumerate(bad)]
    entries.insert(4, entry(b2("Ag"), "agm99"))
    few = [entry(b2("Ag"), "dft_3d_1", species=mixed), entry(b2("Ag"), "dft_3d_2"), entry(b2("Ag"), "oqmd-1")]
    pages = [[resource(e) for e in entries[:4]], [resource(e) for e in entries[4:]]]
    with (
        FaultyServer(pages, prefix="alexandria") as alexandria,
        FaultyServer([[resource(e) for e in few]], prefix="jarvis") as jarvis,
    ):
        urls = [alexandria.url, jarvis.url]
        source = OptimadeSource(urls, cache=tmp_path / "sources.sqlite")
        found = identifiers(list(source.candidates()))
        assert found == ["alexandria:agm99", "jarvis:dft_3d_2"]  # not the copy of another database
        first = list(source.problems)
    assert first == [
        "alexandria: 8 structures skipped: disordered (3), cell without volume (1), no positions (1), no "
        "species (1), unknown element (1), vacancies (1), e.g. alexandria:agm0",
        "jarvis:dft_3d_1: disordered, skipped",
    ]
    assert identifiers(list(source.candidates())) == found  # the server is gone
    assert source.problems == first
    apart = OptimadeSource(urls, CandidateFilter(exclude=["Ag"]), cache=tmp_path / "sources.sqlite")
    assert list(apart.candidates()) == []
    assert apart.problems == []  # what is not requested is no problem
