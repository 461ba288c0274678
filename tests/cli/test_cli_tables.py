"""Every table of the command line at every width: no number and no word is cut."""

from functools import cache
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.text import Text

from stores.learning.decisions import ModelStatus
from stores.learning.model_card import ModelCard
from stores.learning.snapshots import Head, Snapshot
from workflows.analysis.stability_window import StableWindow
from workflows.cli import (
    ablate,
    audit,
    converge,
    ingest,
    learning,
    models,
    predict,
    rounds,
    run,
    simulate,
    slabs,
    snapshot,
    status,
    suggest,
    tune,
)
from workflows.cli import enumerate as enumerate_
from workflows.cli.console import PIPE_WIDTH, page, print_facts, print_table, print_text
from workflows.flows.convergence import ScanPoint
from workflows.report.table import Column, Table
from workflows.report.tables import stable_window_table, surface_table
from workflows.structures.crystal import crystal_of
from workflows.structures.prototypes import structure_for
from workflows.structures.slabs import enumerate_slabs

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (40, 60, 80, 100, 120, 200)
REASON = (
    "an atom moved 0.71 nearest-neighbour distances (limit 0.5); 35 % of surface bonds changed (limit 30 %)"
)
PATH = "/scratch/projects/mg_intermetallics/campaign_2026/MgAg_110_0_MgAg/slab_static/attempt_2"
TARGETS = ("surface_energy", "work_function@vasp-production-0123456789abcdef")
ERRORS = {"mae": 0.00512, "rmse": 0.0078, "r2": 0.94, "n": 1756}


def surfaces():
    records = []
    for number, (formula, plane, label) in enumerate(
        [("MgAg", (1, 1, 0), "MgAg"), ("Mg17Al12", (1, 1, -2), "MgAl-b"), ("Mg17Al12", (2, -1, 1), "Mg-a")]
    ):
        status = ("accepted", "reconstructed", "inconsistent_settings")[number]
        other = ("accepted", "vacuum_not_flat", "unconverged")[number]
        records.append(
            {
                "formula": formula, "chemsys": "Mg-Al", "miller_index": plane, "termination": number,
                "termination_label": label, "spacegroup_number": 194, "surface_energy": 0.0364,
                "surface_energy_x_rich": -0.0591, "surface_energy_slope": -0.04,
                "chemical_potential_window": (-0.42, 0.0), "work_function": 4.069,
                "method_fingerprint": ["gpaw-production-a1", "vasp-mit-relax-b2"][number % 2],
                "verdicts": {
                    "surface_energy": {"status": status, "reason": REASON if number else ""},
                    "work_function": {"status": other, "reason": "top vacuum slopes by 0.0200 eV/A"},
                },
            }
        )  # fmt: skip
    return records


def card(version, factor=1.0):
    errors = {key: value if key == "n" else value * factor for key, value in ERRORS.items()}
    metrics = dict.fromkeys(("train", "val", "test"), errors)
    metrics |= {"macro_mae": 0.0065, "coverage_90": 0.91, "by_element": {"Ag": {"n": 12, "mae": 0.0043}}}
    return ModelCard.model_construct(
        version=version, label="sem-cgcnn, split by chemsys, seed 0, 400 epochs", members=5,
        snapshot="0123456789abcdef0123", targets=list(TARGETS),
        metrics={name: dict.fromkeys(TARGETS, metrics) for name in ("chemsys", "hold-out")},
    )  # fmt: skip


@cache
def slab_list():
    facets = enumerate_slabs(crystal_of(structure_for("MgZn2", "C14")), miller_indices=[(1, 0, 0), (1, 1, 0)])
    return [*facets, SimpleNamespace(miller_index=(1, 1, 1), slabs=[], reason=REASON, notes=[])]


def strategies():
    error = {"mean": 0.01234, "spread": 0.00321}
    point = {"slabs": 1250, "errors": {**dict.fromkeys(TARGETS, error), "score": error}, "front": error}
    saved = {"strategy": "expected-improvement", "error": "score", "slabs": 420.0, "ratio": 0.42,
             "ratios": [0.41, None, 0.44, 0.52, 0.61]}  # fmt: skip
    return simulate.strategy_table({"expected-improvement": [point], "random": [point]}, [saved])


def ablation():
    found = {"paper": {"mae": 0.0053, "r2": 0.93}, "mae": {"mean": 0.00512, "spread": 0.00021}}
    found |= {name: {"mean": 0.94, "spread": 0.01} for name in ("r2", "kendall_tau", "macro_mae")}
    row = {
        "preset": "stl-surface-energy", "train_fraction": 1, "runs": 5, "paper_loss": 0.2,
        "total_loss": {"mean": 0.21, "spread": 0.02}, "targets": dict.fromkeys(TARGETS, found),
    }  # fmt: skip
    return ablate.summarise([row], "chemsys", 5)[1]


def chosen():
    predicted = {"value": 0.0364, "sigma": 0.0021}
    document = {"formula": "Mg17Al12", "miller_index": (1, 0, -1), "spacegroup_number": 194, "n_atoms": 116,
                "termination_label": "MgAl-b", "predictions": dict.fromkeys(TARGETS, predicted),
                "warnings": ["Np, Pu not in the training set"]}  # fmt: skip
    one = SimpleNamespace(
        candidate=document, core_hours=1234.5, reason="most likely on the Pareto front (87 %)"
    )
    return suggest.batch_table([one, one], TARGETS)


def pairs():
    run_of = SimpleNamespace(last=SimpleNamespace(directory=PATH))
    pair = SimpleNamespace(slab=run_of, bulk=run_of, references={"Mg": run_of}, match=None, reason=REASON,
                           asymmetric="")  # fmt: skip
    return ingest.pair_table([pair])


def compounds():
    row = {"formula": "Mg17Al12", "spacegroup_symbol": "P6_3/mmc", "spacegroup_number": 194, "n_atoms": 1158,
           "energy_above_hull": 0.012, "core_hours": 123456.0, "n_slabs": 123, "lattice_is_guess": True,
           "identifiers": ["mp-1094116", "oqmd-4061139", "aflow:1a2b3c4d", "x"],
           "geometry_from": "oqmd"}  # fmt: skip
    return enumerate_.compound_table([row, {**row, "core_hours": None, "energy_above_hull": None}])


def prediction(plane):
    return SimpleNamespace(
        name=PATH, formula="Mg17Al12", plane=plane, termination="MgAl-b", n_atoms=116,
        values=dict.fromkeys(TARGETS, 0.0364), sigmas=dict.fromkeys(TARGETS, 0.0021),
        warnings=("Np not in the training set", "lattice is a guess"), classes={},
    )  # fmt: skip


def differences():
    changed = ("changed", "0123456789abcdef0123456789abcdef", "Mg17Al12", {TARGETS[0]: 0.0364},
               {TARGETS[0]: 0.0401}, "slab changed; gpaw-demo-a1b2 -> gpaw-demo-c3d4")  # fmt: skip
    return snapshot.difference_table([changed])


WINDOW = StableWindow((-0.3, -0.05), ("MgAg3", "Mg3Ag"), 0.0, (), ("Mg3Ag", "MgAg3"), "Mg", "oqmd")
HEADS = (Head("surface_energy", "surface_energy", "vasp-production-0123456789abcdef", 1756),)
SNAPSHOT = Snapshot("0123456789abcdef", 1, "2026-11-29T09:30:00", HEADS, 1756, ())
FINDING = SimpleNamespace(formula="Mg17Al12", check="bulk-energy", target="surface_energy", size=-0.0123,
                          compared=23, reason=REASON)  # fmt: skip
ROUND = SimpleNamespace(number=3, slabs=range(25), core_hours=1234.0, model="v12", done=False,
                        strategy="expected-improvement per cost")  # fmt: skip
TRIAL = SimpleNamespace(loss=0.21, params={"network.convolutions": 4, "optimizer.learning_rate": 0.00123,
                                           "network.embedding_size": 128, "loss.balance": "uncertainty",
                                           "graph.max_neighbours": 12, "network.dropout": 0.1})  # fmt: skip
LOG = SimpleNamespace(status=lambda version: ModelStatus(state="champion", reason=REASON))

TABLES = {
    "query": lambda: surface_table(surfaces(), title="quickstart"),
    "query of one method": lambda: surface_table(surfaces()[::2]),
    "query --stable-window": lambda: stable_window_table(surfaces(), [WINDOW] * 3),
    "status": lambda: status.calculation_table(
        {kind: {"ok": 12345, "unconverged": 3, "failed": 0} for kind in status.CALCULATION_KINDS}
    ),
    "slabs": lambda: slabs.slab_table(slab_list(), 194),
    "run --dry-run": lambda: run.plan_table([("MgZn2 (C14)", s) for f in slab_list() for s in f.slabs]),
    "enumerate": compounds,
    "converge": lambda: converge.scan_table("MgAg (110)", "k_density", [
        ScanPoint(3.0, 0.0505, 4.078, 3.0, -15.3, 15.8), ScanPoint(4.0, None, None, 3.0, -15.3, 15.8)]),
    "ingest --dry-run": pairs,
    "predict facets": lambda: predict.prediction_table([prediction("(10-10)")] * 2, TARGETS),
    "predict files": lambda: predict.prediction_table([prediction("")], TARGETS),
    "suggest": chosen,
    "simulate": strategies,
    "rounds": lambda: rounds.round_table([ROUND]),
    "train": lambda: learning.errors_table(
        {t: dict.fromkeys(("train", "val", "test"), ERRORS) for t in TARGETS}, "target"),
    "tune": lambda: tune.trial_table([TRIAL]),
    "ablate": ablation,
    "audit": lambda: audit.finding_table([FINDING], "faulty", "bold red"),
    "audit --excluded": lambda: audit.excluded_table({("Mg17Al12", TARGETS[0], REASON): ["a", "b"]}),
    "models list": lambda: models.model_table([card(11), card(12)], LOG),
    "models show": lambda: learning.errors_table(card(12).metrics["chemsys"], "split chemsys"),
    "models show, elements": lambda: models.element_table(card(12)),
    "models compare": lambda: models.comparison_table(
        list(models._side_by_side(card(11), card(12, 1.1))), "v11", "v12"),
    "snapshot list": lambda: snapshot.snapshot_table([SNAPSHOT], {SNAPSHOT.id: ["v1", "v2", "v3", "v4"]}),
    "snapshot show": lambda: snapshot.heads_table(SNAPSHOT),
    "snapshot diff": differences,
}  # fmt: skip


def rendered(table, width):
    output = StringIO()
    print_table(table, Console(file=output, width=width, color_system=None))
    return output.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", TABLES)
def test_no_cell_is_cut(name, width):
    table = TABLES[name]()
    text = rendered(table, width)
    lines = text.splitlines()
    assert "…" not in text
    for line in lines:  # a word longer than the page, such as a path, may run over its edge; nothing else
        assert len(line) <= width or len(line.split()) == 1, line
    words = text.split()
    for cells, _ in table.rows:
        for column, cell in zip(table.columns, cells, strict=True):
            if column.spare:  # may be left out
                continue
            if column.wrap:
                assert set(cell.plain.split()) <= set(words), cell.plain
            else:
                assert any(cell.plain in line for line in lines), cell.plain
            headings = set(column.heading.split()), set(column.short.split() or ["?"])
            assert any(heading <= set(words) for heading in headings)
    for note in table.notes:
        assert " ".join(note.split()) in " ".join(words)


@pytest.mark.parametrize(
    "name", ["query", "query of one method", "slabs", "status", "enumerate", "models compare", "converge"]
)
def test_the_usual_terminal_shows_columns(name):
    """Tables with many rows are still tables at 80 columns, each row on a line or a few."""
    table = TABLES[name]()
    assert "─" in rendered(table, 80)


def test_too_narrow_for_columns_each_row_is_a_card():
    table = Table(
        [Column("compound", once=True), Column("γ\neV/Å²", right=True), Column("reason", wrap=True)]
    )
    for number in (0.0364, 0.0778):
        table.add_row("Mg17Al12", f"{number} ± 0.0021", "one two three four five six")
    assert rendered(table, 30).splitlines()[:4] == [
        "compound  Mg17Al12",
        "γ eV/Å²   0.0364 ± 0.0021",
        "reason    one two three four",
        "          five six",
    ]
    assert rendered(table, 30).count("Mg17Al12") == 2  # a card is complete by itself
    assert rendered(table, 60).count("Mg17Al12") == 1
    assert "  0.0364 ± 0.0021\n" in rendered(table, 17)  # below its name


def test_a_title_is_broken_at_spaces():
    table = Table([Column("facet")], "MgAg: Mg-rich, window −0.700 (Ag-rich) to 0 (Mg-rich)")
    table.add_row("(110)")
    assert rendered(table, 30).splitlines()[:2] == [
        "MgAg: Mg-rich, window −0.700",
        "(Ag-rich) to 0 (Mg-rich)",
    ]


def test_second_units_go_before_columns_do():
    table = Table([Column("γ eV/Å²", right=True), Column("γ J/m²", right=True, spare=True), Column("facet")])
    table.add_row("0.0364", "0.583", "(10-10)")
    assert "0.583" in rendered(table, 24)
    assert "0.583" not in rendered(table, 16) and "─" in rendered(table, 16)


def test_styles_and_wide_characters_keep_their_place():
    table = Table([Column("a"), Column("b", wrap=True)])
    table.add_row("镁", Text.assemble(("red words", "red"), " and plain ones"))
    assert rendered(table, 14).splitlines()[2:4] == ["镁  red words", "    and plain"]
    output = StringIO()
    print_table(table, Console(file=output, width=14, force_terminal=True, color_system="standard"))
    assert "\x1b[31mred words" in output.getvalue()


def test_markup_in_a_cell_is_text():
    table = Table([Column("file")])
    table.add_row("[bold]slab[/bold].vasp")
    assert "[bold]slab[/bold].vasp" in rendered(table, 80)


@pytest.mark.parametrize(("columns", "width"), [(None, PIPE_WIDTH), ("80", 80), ("60", 60)])
def test_width_of_a_pipe(monkeypatch, columns, width, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert page().width == width
    print_text("a sentence that is longer than its page, to be found by grep " * 4)
    print_facts([("store", f"{PATH} {PATH}")])
    assert len(capsys.readouterr().out.splitlines()) == 2  # in one piece


def test_sentences_on_a_terminal_break_at_spaces():
    output = StringIO()
    console = Console(file=output, width=40, force_terminal=True, color_system=None)
    print_text(f"store {PATH} holds 8 surfaces of MgAg and of Mg", console)
    print_facts([("store", PATH), ("surfaces", "8 of MgAg, Mg, Mg17Al12, Mg3Sb2, MgPd")], console)
    lines = [line.strip() for line in output.getvalue().splitlines()]
    assert lines.count(PATH) == 2
    assert all(len(line) <= 40 for line in lines if line != PATH)


def test_one_mechanism_draws_all_tables():
    """No other module lays out a table: rich's own would cut words and numbers where room is short."""
    for path in (ROOT / "workflows").rglob("*.py"):
        assert "rich.table" not in path.read_text(encoding="utf-8"), path
