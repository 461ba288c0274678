"""Every example, and the Python block of the README, runs as a user would run it."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.examples.mgag import FORMATION_ENERGY, PUBLISHED, write_store

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the store of MgAg where the quickstart would have put it."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "quickstart").mkdir()
    write_store(f"sqlite:///{folder}/quickstart/mgsurf.sqlite")
    return folder


def run(arguments: list[str], folder: Path, status: int = 0) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    environment.pop("MGSURF_STORE", None)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + (done.stderr if status else "")


def example(name: str, folder: Path, *arguments: str, status: int = 0) -> str:
    return run([str(EXAMPLES / name), *arguments], folder, status)


def test_every_example_is_tested() -> None:
    tested = set(re.findall(r"example\(\"(\w+\.py)\"", Path(__file__).read_text()))
    assert tested == {path.name for path in EXAMPLES.glob("*.py")}


def test_cut_slabs(folder: Path) -> None:
    lines = example("cut_slabs.py", folder).splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["(100)", "Ag"],
        ["(100)", "Mg"],
        ["(110)", "MgAg"],
        ["(111)", "Ag"],
        ["(111)", "Mg"],
    ]
    assert all(float(re.search(r"([\d.]+) A thick", line)[1]) >= 10.0 for line in lines)


def test_cut_slabs_writes_every_slab(folder: Path) -> None:
    from pymatgen.core import Structure

    example("cut_slabs.py", folder, "MgZn2", "C14", "slabs")
    written = list((folder / "slabs").iterdir())
    assert len(written) == 23
    assert all(set(Structure.from_file(path).symbol_set) <= {"Mg", "Zn"} for path in written)


def test_query_store_lists_facets_by_work_function(folder: Path) -> None:
    *lines, last = example("query_store.py", folder).splitlines()
    expected = sorted((phi for gamma, phi in PUBLISHED.values() if gamma < 0.08 and phi > 3.5), reverse=True)
    assert [float(line.split()[-2]) for line in lines] == expected
    assert last == "5 surfaces in the store; 0 surface energies are not accepted"


def test_query_store_of_a_store_that_is_not_there(tmp_path: Path) -> None:
    text = example("query_store.py", tmp_path, status=1)
    assert "There is no store" in text
    assert not list(tmp_path.iterdir())


def test_wulff_shape_averages_by_area(folder: Path) -> None:
    *lines, gamma_line, phi_line = example("wulff_shape.py", folder).splitlines()
    rows = [re.fullmatch(r"\((.*)\) (\w+) +([\d.]+) % +([\d.]+) eV/A\^2", line) for line in lines]
    shares = {tuple(map(int, row[1].split(","))): float(row[3]) / 100 for row in rows}
    energies = {tuple(map(int, row[1].split(","))): float(row[4]) for row in rows}
    assert sum(shares.values()) == pytest.approx(1.0, abs=0.002)
    assert energies == {(1, 0, 0): 0.0364, (1, 1, 0): 0.0505, (1, 1, 1): 0.0537}
    mean = float(re.search(r"surface energy ([\d.]+)", gamma_line)[1])
    assert mean == pytest.approx(sum(shares[h] * energies[h] for h in shares), abs=1e-4)
    phi = {(1, 0, 0): 3.378, (1, 1, 0): 4.078, (1, 1, 1): 3.611}
    assert float(re.search(r"([\d.]+) eV$", phi_line)[1]) == pytest.approx(
        sum(shares[h] * phi[h] for h in shares), abs=0.003
    )


def test_screen_ranks_compounds(folder: Path) -> None:
    line = example("screen.py", folder).splitlines()[0]
    weighted = re.search(r"([\d.]+) eV$", example("wulff_shape.py", folder).splitlines()[-1])
    assert line.startswith("MgAg")
    assert f"work function {weighted[1]} eV" in line
    assert "dissolves at -1.31 V" in line


def test_polarization_needs_galvcalc(tmp_path: Path) -> None:
    (tmp_path / "GalvCalc.py").write_text("raise ImportError")
    start = "import runpy, sys; sys.path.insert(0, '.'); runpy.run_path(sys.argv[1])"
    text = run(["-c", start, str(EXAMPLES / "polarization.py")], tmp_path, status=1)
    assert "pip install galvcalc" in text and text.count("\n") == 1


def test_polarization_curve_by_galvcalc(tmp_path: Path) -> None:
    pytest.importorskip("GalvCalc")
    facet = {"Facet": "110_1", "Surface_energy": 0.8, "Work_function": 3.7}
    magnesium = {"ions": ["Mg[2+]"], "ion_numbers": [1], "valence": [2], "energy_formation": 0, "T": 298.15}
    phases = [
        {"formula": "Mg", "dissolution": {**magnesium, "ion_con": 1e-6}, "facets": []},
        {"formula": "Mg2Si", "work_function": 3.6, "facets": [facet]},
    ]
    (tmp_path / "phases.json").write_text(json.dumps({"phases": phases}))
    text = example("polarization.py", tmp_path, "phases.json", "curve.png")
    assert "Mg2Si    (110) work function 3.70 eV" in text
    assert -2.36 < float(re.search(r"Mg2Si: E_corr = (\S+) V", text)[1]) < -0.61  # between anode and cathode
    assert (tmp_path / "curve.png").stat().st_size > 20_000


def test_wulff_shape_of_a_compound_that_is_not_there(folder: Path) -> None:
    text = example("wulff_shape.py", folder, "quickstart/mgsurf.sqlite", "MgPd", status=1)
    assert "No MgPd in" in text
    assert "MgAg" in text


def test_gamma_over_chemical_potential(folder: Path) -> None:
    text = example("gamma_over_chemical_potential.py", folder)
    block = text.split("MgAg (1, 0, 0)\n")[1].split("MgAg (1, 1, 0)")[0].splitlines()
    assert len(block) == 5
    assert "Mg 0.0364" in block[0]
    assert "Ag 0.0778" in block[0]
    assert block[0].endswith("stable: Mg")
    # the terminations' slopes are opposite, so their sum is the same at every chemical potential
    sums = [sum(float(x) for x in re.findall(r"(?:Mg|Ag) ([\d.]+)", line)) for line in block]
    assert sums == pytest.approx([0.0364 + 0.0778] * 5, abs=2e-4)
    assert float(re.search(r"dmu\(Mg\) = +(-[\d.]+)", block[-1])[1]) == pytest.approx(FORMATION_ENERGY)


def test_own_engine_computes_the_facets_of_silver(folder: Path) -> None:
    lines = example("own_engine.py", folder).splitlines()
    assert [re.match(r"Ag \((.*?)\)", line)[1] for line in lines] == ["1, 1, 1", "1, 0, 0", "1, 1, 0"]
    assert all("(accepted)" in line and "no planar potential was computed" in line for line in lines)
    energies = [float(re.search(r"([\d.]+) eV/A\^2", line)[1]) for line in lines]
    # effective-medium theory puts close-packed metals at 0.4 to 0.7 J/m^2
    assert all(0.025 < energy < 0.045 for energy in energies)


def test_python_of_the_readme(folder: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    assert len([line for line in blocks[0].splitlines() if line.strip()]) <= 16
    text = run(["-c", blocks[0]], folder)
    for ((h, k, l), label), (gamma, phi) in PUBLISHED.items():
        assert re.search(rf"{h} +{k} +{l} +{label} +{gamma} +{phi}", text)
        assert f"({h}, {k}, {l}) {label}" in text


def test_campaign_file_of_the_documents_shows_the_defaults(tmp_path: Path) -> None:
    from workflows.flows.campaign.file import Campaign, Compound, load_campaign
    from workflows.flows.campaign.settings import CandidateSource

    blocks = re.findall(
        r"```yaml\n(.*?)```", (ROOT / "docs" / "campaign.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(blocks) == 1
    (tmp_path / "campaign.yaml").write_text(blocks[0], encoding="utf-8")
    shown = load_campaign(tmp_path / "campaign.yaml")
    default = Campaign(name="my-campaign", compounds=shown.compounds)
    for section in ("slabs", "filters", "engine", "verdicts"):
        assert getattr(shown, section) == getattr(default, section)
        fields = set(type(getattr(shown, section)).model_fields)
        assert fields == getattr(shown, section).model_fields_set, section
    assert set(Campaign.model_fields) == shown.model_fields_set
    assert {name for c in shown.compounds for name in c.model_fields_set} == set(Compound.model_fields)
    assert shown.sources is not None
    assert {name for s in shown.sources for name in s.model_fields_set} == set(CandidateSource.model_fields)


@pytest.mark.parametrize("page", ["README.md", "docs/campaign.md"])
def test_short_campaigns_of_the_documents_are_valid(page: str, tmp_path: Path) -> None:
    from workflows.flows.campaign.file import load_campaign

    text = (ROOT / page).read_text(encoding="utf-8")
    (short,) = re.findall(r"(?:^    .*\n)*^    name: .*\n(?:^    .*\n)+", text, re.MULTILINE)
    (tmp_path / "zinc.yaml").write_text(textwrap.dedent(short), encoding="utf-8")
    campaign = load_campaign(tmp_path / "zinc.yaml")
    assert campaign.name == "zinc"
    assert campaign.store == "sqlite:///zinc.sqlite"


def test_campaigns_among_the_examples_are_valid() -> None:
    from workflows.flows.campaign.file import load_campaign

    for path in EXAMPLES.glob("*.yaml"):
        if path.name not in ("transfer.yaml", "pretrained.yaml"):
            load_campaign(path)


def test_the_example_of_a_pretraining_is_valid_and_names_its_sources() -> None:
    pytest.importorskip("torch")
    from workflows.flows.learning.pretraining import load_pretraining

    found = load_pretraining(EXAMPLES / "pretrained.yaml")
    assert {one.bulk for one in found.data.values()} == {True, False}
    assert all(one.file and one.origin for one in found.data.values())


def test_options_in_the_readme_exist() -> None:
    from typer.main import get_command

    from workflows.cli.app import app

    commands = get_command(app).commands
    found = re.findall(r"mgsurf\s([\w-]+[^`\n]*)", (ROOT / "README.md").read_text(encoding="utf-8"))
    for line in (line for line in found if line.split()[0] in commands):
        known = {option for parameter in commands[line.split()[0]].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\w)--[a-z-]+", line)) <= known, line


def test_page_of_commands_is_made_from_their_help() -> None:
    make_commands = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == make_commands["page"]()


def test_page_of_commands_is_made_from_this_checkout(tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "__init__.py").write_text("raise SystemExit('another checkout')")
    script = f"import runpy; runpy.run_path({str(ROOT / 'docs' / 'make_commands.py')!r})"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)


def test_presets_in_the_documents_are_those_of_the_engine() -> None:
    from workflows.engines.gpaw.presets import PRESETS

    text = (ROOT / "docs" / "physics.md").read_text(encoding="utf-8")
    rows = {
        "cut-off (eV)": "cutoff",
        "k density (Å)": "k_density",
        "k density for relaxing crystals (Å)": "bulk_k_density",
        "Fermi-Dirac width (eV)": "smearing_width",
        "largest force (eV/Å)": "force_tolerance",
    }
    for row, name in rows.items():
        shown = re.search(rf"^\| {re.escape(row)} \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
        assert shown, row
        assert [float(shown[1]), float(shown[2])] == [
            getattr(PRESETS[preset], name) for preset in ("demo", "production")
        ], row
    scf = re.search(r"^\| SCF.*?\| (.*) \| (.*) \|$", text, re.MULTILINE)
    for cell, preset in zip(scf.groups(), ("demo", "production"), strict=True):
        assert [float(x) for x in re.findall(r"\de-\d", cell)] == list(PRESETS[preset].convergence.values())
