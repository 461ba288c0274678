"""`mgsurf enumerate` against a real OPTIMADE server, and what `run` makes of its lock file."""

from __future__ import annotations

import csv
import io
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp

from stores.errors import InputError
from tests.sources.faulty_server import FaultyServer, pages_of, resource, silent
from tests.sources.optimade_server import entry, optimade_server
from workflows.cli.app import app
from workflows.structures.prototypes import structure_for
from workflows.structures.sources.optimade import OptimadeSource

pytest.importorskip("requests")
pytest.importorskip("httpx2")


def scaled(structure, factor):
    other = structure.copy()
    other.scale_lattice(other.volume * factor)
    return other


def setting(structure, seed):
    """The same crystal as a rotated supercell with another origin, its sites in another order."""
    chance = random.Random(seed)
    other = structure * ([2, 1, 1] if seed % 2 else [1, 1, 2])
    other.apply_operation(SymmOp.from_axis_angle_and_translation([1, seed, 2], 40.0 + seed))
    other.translate_sites(list(range(len(other))), [0.1, 0.23, 0.31])
    sites = list(other)
    chance.shuffle(sites)
    return scaled(Structure.from_sites(sites), 1 + 0.01 * seed)


MGAG = structure_for("MgAg", "B2")
LARGE = structure_for("MgAg", "B2") * [4, 4, 1]
LARGE.replace(0, "Ag")  # an ordered cell of 32 atoms without translations inside
TERNARY = Structure(Lattice.cubic(4.4), ["Mg", "Ag", "Cu"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]])


def databases(planted=MGAG):
    """Three databases that know the same compound in different settings, and more."""
    mgzn2 = structure_for("MgZn2", "C14")
    mgtc = Structure(Lattice.cubic(3.2), ["Mg", "Tc"], [[0, 0, 0], [0.5] * 3])
    stability = {
        "gga_gga+u": {"formation_energy_per_atom": -0.2, "energy_above_hull": 0.0},
    }
    half = entry(structure_for("MgCu2", "C15"), "disordered")
    half["species"] = [
        {"name": "Mg", "chemical_symbols": ["Mg"], "concentration": [1.0]},
        {"name": "Cu", "chemical_symbols": ["Cu", "Mg"], "concentration": [0.5, 0.5]},
    ]
    without = entry(structure_for("MgSc", "B2"), "speechless")
    without["species"] = without["species_at_sites"] = None
    return {
        "mp": [
            entry(planted, "mp-11", _mp_stability=stability),
            entry(TERNARY, "mp-12"),
            entry(mgtc, "mp-13"),
            entry(structure_for("Mg2Si", "C1"), "mp-14"),  # its gap is known to the next alone
        ],
        "oqmd": [
            entry(setting(MGAG, 1), "5012", _oqmd_entry_id=5012, _oqmd_stability=0.01, _oqmd_band_gap=0.0),
            entry(mgzn2, "5013", _oqmd_entry_id=5013, _oqmd_stability=0.0, _oqmd_band_gap=0.0),
            entry(structure_for("MgZn2", "C15"), "5014", _oqmd_entry_id=5014, _oqmd_stability=0.2),
            entry(LARGE, "5015", _oqmd_entry_id=5015, _oqmd_stability=0.0),
            entry(structure_for("Mg2Si", "C1"), "5016", _oqmd_entry_id=5016, _oqmd_band_gap=0.2),
        ],
        "alexandria": [
            entry(setting(MGAG, 2), "agm7"),
            entry(setting(mgzn2, 3), "agm8"),
            half,
            without,
        ],
    }


CAMPAIGN = """\
name: binaries
sources:
  - optimade: [{urls}]
filters:
  max_atoms: 30
  {more}
engine:
  name: tests.engines.pair_engine:PairEngine
store: sqlite:///results.sqlite
work_dir: runs
"""


@pytest.fixture(scope="module")
def servers():
    with optimade_server(databases(), page_limit=2, validate=False) as urls:
        yield urls


@pytest.fixture
def mg(tmp_path, monkeypatch, capfd):
    """Run the command in this process, in an empty folder with an empty cache."""
    monkeypatch.chdir(tmp_path)
    for name in ("MGSURF_STORE", "MGSURF_WORK_DIR", "MP_API_KEY", "PMG_MAPI_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MGSURF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "140")
    # no seconds between attempts
    monkeypatch.setitem(OptimadeSource.__init__.__kwdefaults__, "backoff", 0.01)

    def run(*arguments):
        status = app([*map(str, arguments)], standalone_mode=False, prog_name="mgsurf")
        return status or 0, capfd.readouterr().out

    return run


@pytest.fixture
def write(tmp_path):
    def write(urls, more="", name="mg.yaml", order=("mp", "oqmd", "alexandria")):
        text = CAMPAIGN.format(urls=", ".join(urls[provider] for provider in order), more=more)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return write


def test_binaries_of_three_databases(mg, write, servers, tmp_path, capfd):
    """The same compound in three settings is one line with three identifiers; the lock file is stable."""
    campaign = write(servers)
    status, out = mg("enumerate", campaign)
    assert status == 1, "structures were skipped"
    line = next(line for line in out.splitlines() if line.startswith("MgAg "))
    assert "Pm-3m (221)" in line
    assert "mp-11, alexandria:agm7, oqmd-5012" in line
    assert "0.000" in line
    assert "3 compounds from 10 structures, 36 symmetric slabs" in out
    assert "1 refused: radioactive element Tc" in out
    assert "1 refused: more than 30 atoms in the primitive cell" in out
    assert "1 refused: not a metal" in out
    assert "disordered" in out
    assert "2 problems" in out
    lock = (tmp_path / "mg.lock.json").read_bytes()
    content = json.loads(lock)
    assert [c["formula"] for c in content["compounds"]] == ["MgAg", "MgZn2", "MgZn2"]
    mgag = content["compounds"][0]
    assert mgag["slabs"] == {"(100)": 2, "(110)": 1, "(111)": 2}
    assert [v["method"] for v in mgag["values"]] == ["mp GGA_GGA+U", "oqmd"]
    assert len(content["left_out"]) == 2

    # from the cache, requested again, and with the sources in another order: the same bytes
    for arguments in (["enumerate", campaign], ["enumerate", campaign, "--refresh"]):
        status, out = mg(*arguments)
        assert status == 1
        assert "lock file mg.lock.json is up to date" in out
    other = write(servers, name="other.yaml", order=("alexandria", "oqmd", "mp"))
    mg("enumerate", other)
    again = json.loads((tmp_path / "other.lock.json").read_bytes())
    assert again["compounds"] == content["compounds"]
    assert (tmp_path / "mg.lock.json").read_bytes() == lock

    # and the campaign runs from there
    status, out = mg("run", campaign, "--dry-run")
    assert status == 0
    assert "36 slabs of 3 compounds" in out


def test_run_computes_what_the_lock_file_lists(mg, write, servers, tmp_path):
    campaign = write(servers, "partners: [Ag]")
    assert mg("enumerate", campaign)[0] == 0
    assert mg("run", campaign, "--quiet")[0] == 0
    rows = json.loads(mg("query", "--store", "results.sqlite", "--json")[1])
    assert {row["formula"] for row in rows} == {"MgAg"}
    assert len(rows) == 5
    status, out = mg("status", campaign)
    assert status == 0
    assert "1 compound, 5 slabs (mg.lock.json)" in out
    from stores.connections import open_store

    with open_store("sqlite:///results.sqlite") as store:
        provenance = next(store.query({}, ["provenance"], collection="bulks"))["provenance"]
    assert provenance["identifiers"] == ["mp-11", "alexandria:agm7", "oqmd-5012"]
    # what was just computed calibrates the estimate
    assert "core-hours calibrated on" in mg("enumerate", campaign)[1]


def test_ternaries_are_listed_and_counted_but_not_run(mg, write, servers):
    campaign = write(servers, "max_elements: 3\n  partners: [Ag, Cu]")
    status, out = mg("enumerate", campaign)
    assert "not run" in next(line for line in out.splitlines() if line.startswith("MgAgCu "))
    assert "left out of the run (more than two elements" in out
    status, out = mg("run", campaign, "--dry-run")
    assert status == 0
    assert "1 compound left out of the run (more than two elements" in out
    assert "5 slabs of 1 compound" in out


def test_near_the_hull_only(mg, write, servers):
    _, out = mg("enumerate", write(servers, "max_energy_above_hull: 0.05"))
    assert "Fd-3m" not in out
    assert "1 of 3 compounds are more than 0.05 eV/atom above the hull and are left out" in out


def test_what_is_refused_still_competes_and_stands_in_the_lock_file(mg, write, tmp_path):
    def phase(formula, prototype, number, energy, **more):
        found = entry(
            structure_for(formula, prototype),
            str(number),
            _oqmd_entry_id=number,
            _oqmd_delta_e=energy,
            **more,
        )
        return resource(found)

    phases = [
        phase("MgAg", "B2", 1, -0.25, _oqmd_stability=0.0),
        phase("Mg3Ag", "D0_19", 2, -0.2, _oqmd_stability=0.0),  # too many atoms
        phase("Mg3Ag", "D0_19", 3, -0.19),
        phase("MgAg3", "L1_2", 4, -0.1, _oqmd_stability=0.08),  # too far above the hull
        phase("MgZn2", "C14", 5, -0.1, _oqmd_stability=0.0),  # of a system of which nothing is listed
    ]
    with FaultyServer([phases], prefix="oqmd") as server:
        campaign = write({"oqmd": server.url}, "max_energy_above_hull: 0.05", order=("oqmd",))
        path = tmp_path / campaign
        path.write_text(path.read_text().replace("max_atoms: 30", "max_atoms: 4"))
        assert mg("enumerate", campaign)[0] == 0
        server.pages[0].reverse()
        assert "is up to date" in mg("enumerate", campaign, "--refresh")[1]
    lock = json.loads((tmp_path / "mg.lock.json").read_text())
    assert [compound["formula"] for compound in lock["compounds"]] == ["MgAg"]
    assert lock["competing"] == [["Mg3Ag", -0.2, "oqmd", "oqmd-2"], ["MgAg3", -0.1, "oqmd", "oqmd-4"]]
    assert '    ["Mg3Ag", -0.2, "oqmd", "oqmd-2"],\n' in (tmp_path / "mg.lock.json").read_text()


def test_json_and_csv_hold_everything(mg, write, servers):
    campaign = write(servers)
    rows = json.loads(mg("enumerate", campaign, "--json")[1])
    assert rows[0]["identifiers"] == ["mp-11", "alexandria:agm7", "oqmd-5012"]
    assert rows[0]["energy_above_hull"] == 0.0
    assert rows[0]["n_slabs"] == 5
    assert rows[0]["core_hours"] > 0
    lines = list(csv.DictReader(io.StringIO(mg("enumerate", campaign, "--csv")[1])))
    assert [line["formula"] for line in lines] == ["MgAg", "MgZn2", "MgZn2"]
    assert lines[0]["slabs"] == "(100):2 (110):1 (111):2"


def test_a_changed_database_is_shown_and_never_replaces_the_list(mg, write, tmp_path):
    first = databases()
    with optimade_server(first, page_limit=50, validate=False) as urls:
        campaign = write(urls, "partners: [Ag, Zn]")
        assert mg("enumerate", campaign)[0] == 0
    lock = tmp_path / "mg.lock.json"
    before = lock.read_bytes()
    second = databases(planted=scaled(MGAG, 1.03))
    second["oqmd"] = [
        *second["oqmd"][:1],
        entry(structure_for("Mg3Ag", "D0_19"), "6000", _oqmd_entry_id=6000),
    ]
    second["alexandria"] = second["alexandria"][:1]
    with optimade_server(second, page_limit=50, validate=False) as urls:
        text = (tmp_path / campaign).read_text()
        old = json.loads(before)["sections"]["sources"][0]["optimade"]
        for address, provider in zip(old, ("mp", "oqmd", "alexandria"), strict=True):
            text = text.replace(address, urls[provider])
        (tmp_path / campaign).write_text(text)
        # other addresses are other sources; as if they had been these all along
        renamed = before.decode()
        for address, provider in zip(old, ("mp", "oqmd", "alexandria"), strict=True):
            renamed = renamed.replace(address, urls[provider])
        from stores.records import content_hash
        from workflows.flows.enumeration.lock_file import dump_lock
        from workflows.flows.enumeration.lock_model import LockFile

        plain = json.loads(renamed)
        del plain["checksums"]
        plain["made_from"] = content_hash(plain["sections"])
        lock.write_text(dump_lock(LockFile.model_validate(plain)))
        kept = lock.read_bytes()

        status, out = mg("enumerate", campaign)
        assert status == 0
        assert "was kept, for entries of the databases have changed" in out
        assert "added     Mg3Ag" in out
        assert "removed   MgZn2 P6_3/mmc" in out
        assert "geometry  MgAg Pm-3m: cell edges change by up to 0.99 %" in out
        assert "mgsurf enumerate mg.yaml --update replaces it" in out
        assert lock.read_bytes() == kept
        status, out = mg("enumerate", campaign, "--update")
        assert "lock file mg.lock.json replaced" in out
        assert lock.read_bytes() != kept
        assert "is up to date" in mg("enumerate", campaign)[1]


def test_a_provider_that_is_down_costs_one_line(mg, write, servers, tmp_path):
    down = {**servers, "oqmd": "http://127.0.0.1:9"}
    campaign = write(down, "partners: [Ag]")
    status, out = mg("enumerate", campaign)
    assert status == 1
    assert "1 problem" in out
    assert "127.0.0.1:9" in out
    assert "mp-11, alexandria:agm7" in out
    assert (tmp_path / "mg.lock.json").exists()


def test_a_server_that_is_gone_takes_nothing_away(mg, write, tmp_path):
    with optimade_server({"mp": databases()["mp"]}, page_limit=50, validate=False) as urls:
        campaign = write(urls, "partners: [Ag]", order=("mp",))
        assert mg("enumerate", campaign)[0] == 0
        assert mg("enumerate", campaign, "--max-age", "0h")[0] == 0
        assert "from the cache" in mg("enumerate", campaign)[1]
    before = (tmp_path / "mg.lock.json").read_bytes()
    status, out = mg("enumerate", campaign, "--refresh")
    assert status == 1
    assert "cannot be reached" in out
    assert (tmp_path / "mg.lock.json").read_bytes() == before
    status, out = mg("enumerate", campaign)
    assert status == 0
    assert "problem" not in out


@pytest.mark.parametrize("stage", ["symmetry", "slabs"])
def test_ctrl_c_keeps_what_has_come_and_writes_no_lock_file(mg, write, tmp_path, monkeypatch, stage):
    from workflows.execution.progress_bar import ProgressBar

    def interrupt(self, shown, done, total):
        if shown == stage:
            raise KeyboardInterrupt

    with optimade_server({"mp": databases()["mp"]}, page_limit=50, validate=False) as urls:
        campaign = write(urls, "partners: [Ag]", order=("mp",))
        with monkeypatch.context() as patched:
            patched.setattr(ProgressBar, "show", interrupt)
            assert mg("enumerate", campaign)[0] == 130
    assert not list(tmp_path.glob("*lock*"))
    # the server is gone: what had come is enough
    assert mg("enumerate", campaign)[0] == 0
    assert (tmp_path / "mg.lock.json").exists()


def test_a_real_ctrl_c_in_mid_page_is_one_line_and_keeps_the_pages(write, tmp_path, environment):
    with FaultyServer(pages_of(6)) as server:
        server.faults[3] = [silent(300)]
        campaign = write({"x": server.url}, order=("x",))
        command = [sys.executable, "-m", "workflows.cli.app", "enumerate", campaign, "--workers", "1"]
        options = {
            "cwd": tmp_path,
            "env": environment | {"MGSURF_CACHE": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1"},
            "text": True,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        # where the tests run in a shell's background, SIGINT is ignored, and processes inherit that
        process = subprocess.Popen(
            command, **options, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        )
        while 3 not in server.requested:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 130, errors
        assert out == ""
        assert errors.splitlines() == [
            "mgsurf: interrupted; what is finished is kept, the same command resumes there"
        ]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "mg.yaml"]
        server.requested.clear()
        done = subprocess.run(command, **options, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert server.requested == [3]
        assert "from 6 structures" in done.stdout
    assert (tmp_path / "mg.lock.json").exists()


def test_a_database_that_ends_early_in_good_order_never_replaces_the_list(mg, write, tmp_path):
    lock = tmp_path / "mg.lock.json"
    with FaultyServer(pages_of(6)) as server:
        campaign = write({"x": server.url}, "partners: [Ag]", order=("x",))
        assert mg("enumerate", campaign)[0] == 0
        before = lock.read_bytes()
        server.pages[2:] = []
        for arguments in (["--refresh"], []):  # the second from the cache
            status, out = mg("enumerate", campaign, *arguments)
            assert status == 1
            assert "4 of 6 structures came, but no further page; --refresh fetches it again" in out
        assert "(from the cache)" in out
        write({"x": server.url}, "partners: [Ag, Zn]", order=("x",))
        server.meta = {"data_returned": 6}
        status, out = mg("enumerate", campaign)
        assert status == 1
        assert "was kept, for not every source answered in full" in out
        assert lock.read_bytes() == before


def test_sources_that_cannot_be_used_cost_one_line_each(mg, tmp_path):
    (tmp_path / "cifs").mkdir()
    structure_for("MgAg", "B2").to(filename=str(tmp_path / "cifs" / "good.cif"))
    (tmp_path / "cifs" / "bad.cif").write_text("data_nothing\n")
    (tmp_path / "mg.yaml").write_text(
        "name: a\nsources:\n  - folder: cifs\n  - folder: nowhere\n  - materials_project: true\n"
        "  - prototypes: [B2]\n    partners: [Ag, Zn]\n"
        "engine: {name: 'tests.engines.pair_engine:PairEngine'}\n"
    )
    status, out = mg("enumerate", "mg.yaml")
    assert status == 1
    assert "3 problems" in out
    assert "mg.yaml:4: sources[2].folder: nowhere does not exist" in out
    assert "mg.yaml:5: sources[3].materials_project: " in out
    assert "bad.cif" in out
    mgag = next(line for line in out.splitlines() if line.startswith("MgAg "))
    assert "file" in mgag
    assert "file:cifs/good.cif" in mgag
    assert str(tmp_path) not in (tmp_path / "mg.lock.json").read_text()


def test_compounds_of_the_campaign_file_join_the_list(mg, tmp_path):
    (tmp_path / "mg.yaml").write_text(
        'name: a\ncompounds:\n  - formula: Mg\n    facets: ["(0001)"]\n'
        "  - formula: MgAg\n    prototype: B2\n    facets: [110]\n"
        "sources:\n  - prototypes: [B2]\n    partners: [Ag, Zn]\n"
        "engine: {name: 'tests.engines.pair_engine:PairEngine'}\n"
    )
    rows = json.loads(mg("enumerate", "mg.yaml", "--json")[1])
    assert [(r["formula"], r["slabs"]) for r in rows] == [
        ("Mg", {"(0001)": 1}),
        ("MgAg", {"(110)": 1}),
        ("MgZn", {"(100)": 2, "(110)": 1, "(111)": 2}),
    ]
    _, out = mg("run", "mg.yaml", "--dry-run")
    assert "7 slabs of 3 compounds" in out


@pytest.mark.parametrize("command", ["run", "submit"])
def test_no_lock_file_is_one_line(mg, write, servers, command):
    campaign = write(servers)
    with pytest.raises(InputError, match=r"^mg\.yaml: there is no mg\.lock\.json .*run mgsurf enumerate"):
        mg(command, campaign)


def test_sections_that_changed_since_are_one_line(mg, tmp_path):
    text = (
        "name: a\nsources:\n  - prototypes: [B2]\nfilters: {{partners: [Ag], max_atoms: {n}}}\n"
        "engine: {{name: 'tests.engines.pair_engine:PairEngine'}}\nslabs: {{vacuum: {vacuum}}}\n"
    )
    path = tmp_path / "mg.yaml"
    path.write_text(text.format(n=30, vacuum=15.0))
    assert mg("enumerate", "mg.yaml")[0] == 0
    path.write_text(text.format(n=30, vacuum=20.0))
    assert mg("run", "mg.yaml", "--dry-run")[0] == 0, "slab settings do not decide the list"
    path.write_text(text.format(n=10, vacuum=15.0))
    with pytest.raises(
        InputError, match=r"made from other settings \(filters.max_atoms was 30, is 10\); run"
    ):
        mg("run", "mg.yaml", "--dry-run")
    assert "lock file mg.lock.json replaced" in mg("enumerate", "mg.yaml")[1]
    assert mg("run", "mg.yaml", "--dry-run")[0] == 0


def test_slab_settings_replace_counts_but_never_crystals(mg, tmp_path):
    text = (
        "name: a\nsources:\n  - folder: crystals\n"
        "engine: {{name: 'tests.engines.pair_engine:PairEngine'}}\nslabs: {{max_miller_index: {n}}}\n"
    )
    path, lock, crystals = tmp_path / "mg.yaml", tmp_path / "mg.lock.json", tmp_path / "crystals"
    crystals.mkdir()
    MGAG.to_file(str(crystals / "MgAg.cif"))
    path.write_text(text.format(n=1))
    mg("enumerate", "mg.yaml")
    path.write_text(text.format(n=2))
    assert "lock file mg.lock.json replaced" in mg("enumerate", "mg.yaml")[1]
    kept = lock.read_bytes()

    structure_for("MgZn2", "C15").to_file(str(crystals / "MgZn2.cif"))
    path.write_text(text.format(n=1))
    _, out = mg("enumerate", "mg.yaml")
    assert "mg.lock.json was kept" in out
    assert "added     MgZn2" in out
    assert lock.read_bytes() == kept
    assert "replaced" in mg("enumerate", "mg.yaml", "--update")[1]
    assert lock.read_bytes() != kept


def test_a_damaged_lock_file_is_one_line(mg, tmp_path):
    (tmp_path / "mg.yaml").write_text(
        "name: a\nsources:\n  - prototypes: [B2]\n    partners: [Ag]\n"
        "engine: {name: 'tests.engines.pair_engine:PairEngine'}\n"
    )
    mg("enumerate", "mg.yaml")
    lock = tmp_path / "mg.lock.json"
    whole = lock.read_text()
    lock.write_text(whole[: len(whole) // 2])
    for command in (["run", "mg.yaml", "--dry-run"], ["enumerate", "mg.yaml"]):
        with pytest.raises(InputError, match="the lock file is damaged") as raised:
            mg(*command)
        assert "\n" not in str(raised.value)
    assert "could not be read and was replaced" in mg("enumerate", "mg.yaml", "--update")[1]
    assert lock.read_text() == whole


def test_nothing_left_writes_no_lock_file(mg, tmp_path):
    (tmp_path / "mg.yaml").write_text(
        "name: a\nsources:\n  - prototypes: [C14]\n    partners: [Ag]\nfilters: {max_atoms: 5}\n"
        "engine: {name: 'tests.engines.pair_engine:PairEngine'}\n"
    )
    status, out = mg("enumerate", "mg.yaml")
    assert status == 1
    assert "no compound is left of 2 structures" in out
    assert not (tmp_path / "mg.lock.json").exists()


def test_without_sources_there_is_nothing_to_enumerate(mg, tmp_path):
    Path("mg.yaml").write_text("name: a\ncompounds:\n  - formula: Mg\n")
    with pytest.raises(InputError, match=r"mg\.yaml: has no sources"):
        mg("enumerate", "mg.yaml")


def test_a_wrong_span_is_one_line(mg, tmp_path):
    Path("mg.yaml").write_text("name: a\nsources:\n  - prototypes: [B2]\n    partners: [Ag]\n")
    with pytest.raises(InputError, match="--max-age: 'soon' is no span of time"):
        mg("enumerate", "mg.yaml", "--max-age", "soon")
