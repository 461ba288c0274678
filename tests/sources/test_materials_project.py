import subprocess
import sys
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from stores.errors import InputError
from tests.sources.materials_project_server import KEY, material, materials_project
from workflows.structures.prototypes import structure_for
from workflows.structures.sources.filters import CandidateFilter
from workflows.structures.sources.materials_project import MaterialsProjectSource
from workflows.structures.sources.protocol import Source

pytest.importorskip("mp_api")

ENERGIES = {"GGA_GGA+U": (-0.17, 0.0), "r2SCAN": (-0.2, 0.01), "GGA_GGA+U_R2SCAN": (-0.18, 0.002)}
MGAG = structure_for("MgAg", "B2")
MGZN2 = structure_for("MgZn2", "C14")


@pytest.fixture(autouse=True)
def _no_key_of_the_users(monkeypatch):
    import pymatgen.core

    for name in ("MP_API_KEY", "PMG_MAPI_KEY", "MP_API_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(pymatgen.core.SETTINGS, "PMG_MAPI_KEY", None)


@pytest.fixture
def server():
    with materials_project(
        material(MGAG, "mp-1094116", thermo=ENERGIES),
        material(MGZN2, "mp-978", thermo={"R2SCAN": (-0.1, 0.03)}, band_gap=None),
        material(structure_for("MgO", "B1"), "mp-1265", band_gap=4.4),
        material(structure_for("ZnAg", "B2"), "mp-5"),
    ) as (url, state):
        yield url, state


@pytest.fixture
def source(server, tmp_path):
    def make(wanted=None, **options):
        given = {"endpoint": server[0], "api_key": KEY, "cache": tmp_path / "c.sqlite", "backoff": 0.01}
        return MaterialsProjectSource(wanted, **(given | options))

    return make


def one_line(problems):
    assert len(problems) == 1
    assert "\n" not in problems[0]
    assert KEY not in problems[0]
    return problems[0]


def test_structures_energies_by_thermo_type_and_gaps(source):
    mp = source(CandidateFilter(partners=["Ag", "Zn", "O"]))
    assert isinstance(mp, Source)
    found = {c.provenance.identifiers[0]: c for c in mp.candidates()}
    assert mp.problems == []
    assert sorted(found) == ["mp-1094116", "mp-1265", "mp-978"]
    mgag = found["mp-1094116"]
    assert mgag.label == "MgAg Pm-3m mp-1094116"
    assert mgag.provenance.source == "mp"
    assert not mgag.provenance.lattice_is_guess
    assert mgag.structure.lattice.a == pytest.approx(MGAG.lattice.a)
    # of the thermo endpoint, not the summary's mixture; nearest to PBE first
    assert [(v.method, v.formation_energy, v.energy_above_hull) for v in mgag.values] == [
        ("mp GGA_GGA+U", -0.17, 0.0),
        ("mp GGA_GGA+U_R2SCAN", -0.18, 0.002),
        ("mp R2SCAN", -0.2, 0.01),
        ("mp", None, None),
    ]
    assert [v.band_gap for v in mgag.values] == [None, None, None, 0.0]
    assert [v.method for v in found["mp-978"].values] == ["mp R2SCAN"]
    assert found["mp-1265"].values[-1].band_gap == 4.4


def test_all_partners_in_groups_then_from_disk_without_mp_api(server, source, tmp_path):
    calls = []
    mp = source(progress=lambda *call: calls.append(call))
    first = [(c.label, c.structure.as_dict(), c.values) for c in mp.candidates()]
    assert len(first) == 3
    assert calls[-1][0] == "mp"
    assert calls[-1][1] == calls[-1][2] == len(calls) > 3
    requested = len(server[1].requests)
    assert [(c.label, c.structure.as_dict(), c.values) for c in source().candidates()] == first
    assert len(server[1].requests) == requested
    assert len(list(source(refresh=True).candidates())) == 3
    assert len(server[1].requests) == 2 * requested
    # with everything on disk the slow import is never made
    code = (
        "import sys; from pathlib import Path; "
        "from workflows.structures.sources.materials_project import MaterialsProjectSource as S; "
        f"s = S(endpoint={server[0]!r}, api_key={KEY!r}, cache=Path({str(tmp_path / 'c.sqlite')!r})); "
        "print(len(list(s.candidates())), 'mp_api' in sys.modules, s.problems)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert done.stdout == "3 False []\n"


def test_conditions_reach_the_server(server, source):
    big = MGAG * (2, 2, 2)
    server[1].materials += [
        material(big, "mp-16"),
        material(MGAG, "mp-17", batch_id="gnome_r2scan_statics"),
        material(MGAG, "mp-18", deprecated=True),
    ]
    assert len(list(source(CandidateFilter(partners=["Ag"])).candidates())) == 3
    assert (
        len(list(source(CandidateFilter(partners=["Ag"], max_atoms=3)).candidates())) == 2
    )  # 16 atoms > 4 x 3
    assert len(list(source(CandidateFilter(partners=["Ag"]), include_gnome=False).candidates())) == 2
    assert len(list(source(CandidateFilter(exclude=["Ag"])).candidates())) == 2


def test_more_elements_are_asked_by_partner_and_come_once(server, source):
    heusler = Structure.from_spacegroup(
        225, Lattice.cubic(6.1), ["Mg", "Ag", "Zn"], [[0, 0, 0], [0.25] * 3, [0.5] * 3]
    )
    server[1].materials.append(material(heusler, "mp-99", thermo=ENERGIES))
    found = [c.provenance.identifiers[0] for c in source(CandidateFilter(max_elements=3)).candidates()]
    assert sorted(found) == ["mp-1094116", "mp-1265", "mp-978", "mp-99"]
    assert server[1].requests[0][1]["elements"].startswith("Mg,")
    few = source(CandidateFilter(partners=["Ag", "Zn"], max_elements=3))
    assert [c.provenance.identifiers[0] for c in few.candidates()] == ["mp-1094116", "mp-978", "mp-99"]
    assert server[1].requests[-2][1]["chemsys"] == "Ag-Mg,Mg-Zn,Ag-Mg-Zn"


def test_more_structures_than_one_page(server, source):
    server[1].materials[:] = [material(MGAG, f"mp-{i}", thermo=ENERGIES) for i in range(700)]
    found = list(source(CandidateFilter(partners=["Ag"])).candidates())
    assert len(found) == 700
    assert all(len(c.values) == 4 for c in found)
    assert len({c.provenance.identifiers[0] for c in found}) == 700


@pytest.mark.parametrize(
    ("fault", "words", "most_requests"),
    [
        (401, "API key is refused", 1),
        (403, "API key is refused", 1),
        (400, "pip install -U mp-api", 1),
        (404, "pip install -U mp-api", 1),
        (503, "server fails (status 503)", 10),
        (429, "server fails (status 429)", 10),
        ("nonsense", "cannot be read", 2),
        ("html", "cannot be read", 2),
        ("no data", "cannot be read", 2),
        ("cut", "broke in the middle", 10),
    ],
)
def test_a_server_that_fails_costs_one_line(server, source, fault, words, most_requests):
    server[1].fault = fault
    mp = source()
    assert list(mp.candidates()) == []
    problem = one_line(mp.problems)
    assert problem.startswith("mp: nothing came: ")
    assert words in problem
    assert len(server[1].requests) <= most_requests


def test_a_wrong_key_is_refused_by_the_server(source):
    mp = source(api_key="x" * 32)
    assert list(mp.candidates()) == []
    assert "API key is refused (status 401)" in one_line(mp.problems)
    assert "x" * 32 not in mp.problems[0]


def test_no_network(server, source, tmp_path):
    mp = source(endpoint="http://127.0.0.1:9/")
    assert list(mp.candidates()) == []
    assert "no connection" in one_line(mp.problems)


def test_a_fault_that_passes_is_not_seen(server, source):
    server[1].fault, server[1].faults_until = 503, 3
    mp = source()
    assert len(list(mp.candidates())) == 3
    assert mp.problems == []


def test_a_server_that_dies_keeps_what_came_and_the_next_call_goes_on(server, source):
    server[1].fault, server[1].faults_from = 400, 3  # Ag is in the first group
    mp = source()
    assert [c.provenance.identifiers[0] for c in mp.candidates()] == ["mp-1094116"]
    assert "missing are " in one_line(mp.problems)
    assert "more groups" in mp.problems[0]
    server[1].fault = None
    server[1].requests.clear()
    mp = source()
    assert len(list(mp.candidates())) == 3
    assert mp.problems == []
    assert not any("Ag-Mg" in requested.get("chemsys", "").split(",") for _, requested in server[1].requests)


def test_older_answers_stand_in_and_that_is_said(server, source):
    assert len(list(source().candidates())) == 3
    server[1].fault = 503
    mp = source(refresh=True)
    assert len(list(mp.candidates())) == 3
    assert one_line(mp.problems).startswith("mp: older answers are used")


def test_structures_that_cannot_be_used_are_counted(server, source):
    disordered = Structure(Lattice.cubic(3.3), [{"Mg": 0.5, "Ag": 0.5}, "Mg"], [[0, 0, 0], [0.5] * 3])
    overlapping = Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0, 0, 0.1]])
    sheet = Structure(Lattice.tetragonal(3.3, 20), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.1]])
    broken = material(MGAG, "mp-23")
    broken["structure"] = {"lattice": {"matrix": "none"}, "sites": None}
    charged = MGAG.copy()
    charged.add_oxidation_state_by_element({"Mg": 2, "Ag": -2})
    server[1].materials += [
        material(disordered, "mp-21", elements=["Ag", "Mg"], chemsys="Ag-Mg"),
        material(overlapping, "mp-22"),
        broken,
        material(charged, "mp-24"),
        material(sheet, "mp-25"),
    ]
    for _ in range(2):  # from the server, then from disk
        mp = source(CandidateFilter(partners=["Ag"]))
        found = list(mp.candidates())
        assert [c.provenance.identifiers[0] for c in found] == ["mp-1094116", "mp-24"]
        assert found[1].structure[0].specie.symbol == "Mg"
        assert not hasattr(found[1].structure[0].specie, "oxi_state")
        assert one_line(mp.problems) == (
            "mp: 4 structures skipped: disordered (1), no readable structure (1), overlapping (1), vacuum (1)"
        )


def test_no_module_named_in_an_answer_is_imported(server, source):
    hostile = material(MGAG, "mp-26")
    hostile["structure"]["sites"][0]["properties"] = {"a": {"@module": "this", "@class": "x"}}
    server[1].materials.append(hostile)
    found = list(source(CandidateFilter(partners=["Ag"])).candidates())
    assert [c.provenance.identifiers[0] for c in found] == ["mp-1094116", "mp-26"]
    assert "this" not in sys.modules


def test_server_older_than_the_client_is_mentioned(server, source, monkeypatch):
    from mp_api.client.core.client import _Rester

    _Rester._get_heartbeat_info.cache_clear()
    server[1].version = "0.50.0"
    mp = source(CandidateFilter(partners=["Ag"]))
    assert len(list(mp.candidates())) == 1
    assert "may not fit the server" in one_line(mp.problems)


def test_key_from_the_environment_and_from_pymatgen(source, monkeypatch):
    import pymatgen.core

    with pytest.raises(InputError, match="no API key: get one") as error:
        source(api_key=None)
    assert "MP_API_KEY" in str(error.value)
    monkeypatch.setitem(pymatgen.core.SETTINGS, "PMG_MAPI_KEY", KEY)
    assert len(list(source(CandidateFilter(partners=["Ag"]), api_key=None).candidates())) == 1
    monkeypatch.setenv("MP_API_KEY", "legacykey1234567")
    with pytest.raises(InputError, match="the key in MP_API_KEY") as error:
        source(api_key=None)
    assert "legacykey" not in str(error.value)


def test_missing_package(source, monkeypatch):
    from importlib.metadata import PackageNotFoundError

    from workflows.structures.sources import materials_project as materials_project_client

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(materials_project_client, "version", missing)
    with pytest.raises(InputError, match=r"-e '\.\[materials-project\]'"):
        source()
