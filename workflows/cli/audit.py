"""`mgsurf audit`: labels that contradict others, with the reason; on request excluded from training."""

from __future__ import annotations

import json
from collections import defaultdict
from enum import StrEnum
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Annotated

import typer

from stores.errors import InputError, install_command, pluralize
from workflows.cli.completion import formulas, models_and_folders
from workflows.cli.console import print_csv, print_note, print_table, print_text
from workflows.cli.options import FIGURES, MethodOption, OutputFile, QuietOption, StoreOption, TableFormat
from workflows.cli.typer_app import LOOK, app
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from model.audit.checks import Audit, Finding

SYMBOLS = {"surface_energy": ("γ", "eV/Å²", 3), "work_function": ("Φ", "eV", 2)}
COLUMNS = ("compound", "formula", "check", "level", "target", "size", "unit", "compared", "n_records",
           "bulk_energy_error", "work_function_shift", "method", "reason")  # fmt: skip


class AuditCheck(StrEnum):
    """Check of `mgsurf audit`, see `model.audit.checks.CHECKS`."""

    RANGE = "range"
    BULK_ENERGY = "bulk-energy"
    OUTLIER = "outlier"
    DUPLICATES = "duplicates"
    ORDER = "order"


@app.command(rich_help_panel=LOOK)
def audit(
    check: Annotated[
        list[AuditCheck] | None,
        typer.Option(
            "--check", metavar="NAME", help=f"Only this check (may be repeated): {', '.join(AuditCheck)}."
        ),
    ] = None,
    compound: Annotated[
        list[str] | None,
        typer.Option(
            "--compound",
            metavar="FORMULA",
            autocompletion=formulas,
            help="Only findings on this compound (may be repeated).",
        ),
    ] = None,
    reject: Annotated[
        bool,
        typer.Option(
            "--reject",
            help="Keep faulty labels out of training, with the reason; with --check or --compound also "
            "suspect ones.",
        ),
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="NAME", help="Undo --reject: a formula, a record id, or all."),
    ] = None,
    excluded: Annotated[
        bool, typer.Option("--excluded", help="List the labels that are kept out, and why.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            autocompletion=models_and_folders,
            help="Find outliers by the intervals of this model: a folder or champion.",
        ),
    ] = None,
    store: StoreOption = None,
    method: MethodOption = None,
    *,
    target: OutputFile,
    quiet: QuietOption = False,
    shown: TableFormat,
) -> int:
    """Find faulty labels: wrong bulk energies, outliers, duplicates that disagree, reversed facets.

    Labels are compared with those of similar compounds in the same store,
    computed or imported; nothing is excluded without --reject.

    Examples: [cyan]mgsurf audit --output audit.png[/cyan],
    [cyan]mgsurf audit --check bulk-energy --reject[/cyan], [cyan]mgsurf audit --accept Mg3La[/cyan]
    """
    from stores.connections import resolve_store_uri
    from stores.exclusions import exclude, excluded_line
    from workflows.cli.access import store_to_write

    if sum(map(bool, (reject, accept, excluded))) > 1:
        raise InputError("--reject, --accept and --excluded exclude each other; choose one")
    if accept:
        return _accept(accept, store)
    if excluded:
        return _show_excluded(store, shown.as_json)
    figure = None if target.output is None else target.checked(suffixes=FIGURES)
    uri = resolve_store_uri(store)
    checks = [one.value for one in check or []]
    audits = run_audits(uri, method, model, checks, quiet)
    findings = [f for one in audits for f in one.findings]
    if compound:
        known = {c.formula for c in findings} | {c.compound for c in findings}
        if unknown := [name for name in compound if name not in known]:
            there = ", ".join(sorted({f.formula for f in findings})) or "none"
            raise InputError(f"--compound {unknown[0]}: no finding on it; there are findings on {there}")
        findings = [f for f in findings if f.formula in compound or f.compound in compound]
    rejected: dict[str, int] = {}
    if reject:
        chosen = findings if checks or compound else [f for f in findings if f.level == "faulty"]
        with store_to_write(uri) as opened:
            rejected = dict(exclude(opened, _reasons(chosen)))
    if figure is not None:
        _draw(figure, audits, findings)
    if shown.as_json:
        plain = [{"method": a.method, "slabs": a.slabs, "compounds": a.compounds, "compared": a.compared,
                  "notes": list(a.notes)} for a in audits]  # fmt: skip
        everything = {"audited": plain, "findings": [f.plain() for f in findings], "rejected": rejected}
        print(json.dumps(everything, indent=2))
    elif shown.as_csv:
        print_csv([{**f.plain(), "n_records": len(f.records)} for f in findings], COLUMNS)
    else:
        _print(audits, findings)
        if figure is not None:
            print(f"figure in {figure}")
        if reject:
            print(excluded_line(rejected) or "nothing more to exclude")
        elif findings:
            print("mgsurf audit --reject keeps faulty labels out of training, --accept undoes it")
    return 0


def _accept(names: Sequence[str], store: str | None) -> int:
    """Undo exclusions of records, compounds or all."""
    from stores.exclusions import accept
    from workflows.cli.access import store_to_write

    with store_to_write(store) as opened:
        counts = accept(opened, frozenset(names))
    if not counts:
        raise InputError(
            f"--accept: no label of {', '.join(names)} is excluded; mgsurf audit --excluded lists them"
        )
    print("accepted again: " + ", ".join(f"{n} {t}" for t, n in sorted(counts.items())))
    return 0


def _show_excluded(store: str | None, as_json: bool) -> int:
    """List the labels that are kept out of training, with the reasons."""
    from stores.exclusions import list_excluded
    from workflows.cli.access import existing_store

    with existing_store(store) as opened:
        found = list_excluded(opened)
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    if not found:
        print("no label is excluded")
        return 0
    rows: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for value in found:
        rows[value["formula"], value["target"], value["reason"]].append(value["id"])
    print_table(excluded_table(rows))
    print_text(
        f"{pluralize(len(found), 'label')} excluded; mgsurf audit --accept FORMULA, ID or all undoes it"
    )
    return 0


def excluded_table(rows: Mapping[tuple[str, str, str], Sequence[str]]) -> Table:
    """Table of excluded labels; `rows` has record ids by formula, target and reason."""
    columns = [Column("compound"), Column("label"), Column("records", right=True)]
    table = Table([*columns, Column("reason", wrap=True, room=24)])
    for (formula, target, reason), ids in rows.items():
        table.add_row(formula, SYMBOLS.get(target, (target,))[0], str(len(ids)), reason)
    return table


def run_audits(
    uri: str, method: str | None, model: str | None, checks: Sequence[str], quiet: bool
) -> list[Audit]:
    """Audit the labels of a store, those of each method by themselves."""
    from importlib.util import find_spec

    from model.audit.checks import CHECKS, audit_slabs
    from model.audit.slabs import read_audit_slabs
    from model.graphs.cache import GraphCache
    from workflows.execution.progress_bar import ProgressBar

    wanted = tuple(checks) or CHECKS
    with_trees = find_spec("sklearn") is not None
    if not with_trees and {"bulk-energy", "outlier"} & set(wanted):
        print_note(f"no comparison with trees, scikit-learn is not installed: {install_command('model')}")
    ensemble = None
    if model is not None:
        from workflows.cli.access import chosen_ensemble
        from workflows.cli.learning import require_network

        require_network()
        ensemble, _ = chosen_ensemble(model, uri)
    audits = []
    with ProgressBar(quiet) as bar:
        reading, comparing = partial(bar.show, "reading slabs"), partial(bar.show, "comparing labels")
        cache = GraphCache()
        reading()
        for slabs in read_audit_slabs(uri, method, cache=cache, tick=reading):
            comparing()
            predicted = None
            if ensemble is not None:
                from model.audit.expectations import by_model

                predicted = by_model(ensemble, uri, slabs, cache)
            audits.append(
                audit_slabs(slabs, checks=wanted, predicted=predicted, with_trees=with_trees, tick=comparing)
            )
    return audits


def _reasons(findings: Sequence[Finding]) -> dict[str, dict[str, str]]:
    reasons: dict[str, dict[str, str]] = defaultdict(dict)
    for finding in findings:
        for record in finding.records:
            reasons[record].setdefault(finding.target, f"audit, {finding.check}: {finding.reason}")
    return reasons


def _draw(output: Path, audits: Sequence[Audit], findings: Sequence[Finding]) -> None:
    from workflows.report.audit_figure import audit_figure
    from workflows.report.style import save

    drawn = [(f.formula, f.level, f.offset.energy, f.points) for f in findings if f.offset is not None]
    save(audit_figure(drawn, [point for audit in audits for point in audit.backdrop]), output)


def finding_table(findings: Sequence[Finding], title: str, style: str) -> Table:
    """Table of labels that contradict others."""
    columns = [Column("compound"), Column("check"), Column("size"), Column("facets", right=True)]
    table = Table([*columns, Column("reason", wrap=True, room=24)], title, style)
    for finding in findings:
        symbol, unit, digits = SYMBOLS[finding.target]
        size = f"{symbol} {finding.size:+.{digits}f} {unit}"
        table.add_row(finding.formula, finding.check, size, str(finding.compared), finding.reason)
    return table


def _print(audits: Sequence[Audit], findings: Sequence[Finding]) -> None:
    for audit, level in product(audits, ("faulty", "suspect")):
        chosen = [f for f in findings if f.level == level and f.method == audit.method]
        if not chosen:
            continue
        title = level if len(audits) == 1 else f"{level}, {audit.method}"
        print_table(finding_table(chosen, title, "bold red" if level == "faulty" else "bold yellow"))
    for audit in audits:
        for note in audit.notes:
            print_note(f"{audit.method}: {note}")
        print(
            f"{pluralize(audit.slabs, 'slab')} of {pluralize(audit.compounds, 'compound')} ({audit.method}), "
            f"{audit.compared} compared with peers: "
            f"{sum(f.level == 'faulty' for f in audit.findings)} faulty, "
            f"{sum(f.level == 'suspect' for f in audit.findings)} suspect"
        )
