"""`mgsurf audit`: labels that contradict others, with the reason; on request kept out of training."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from stores.connections import resolve_store_uri
from stores.errors import InputError, counted, install_command
from stores.exclusions import accept, exclude, excluded_line, list_excluded
from workflows.cli.access import existing_store, store_to_write
from workflows.cli.console import check_one_format, print_table, print_text
from workflows.execution.progress_bar import ProgressBar
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from model.audit.checks import Audit
    from model.audit.finding import Finding

SYMBOLS = {"surface_energy": ("γ", "eV/Å²", 3), "work_function": ("Φ", "eV", 2)}


def audit_labels(
    *,
    store: str | None,
    method: str | None,
    model: str | None,
    checks: Sequence[str],
    compounds: Sequence[str],
    output: Path | None,
    overwrite: bool,
    reject: bool,
    quiet: bool,
    as_json: bool,
    as_csv: bool,
) -> int:
    """Look for faulty labels, show them and, on request, exclude them from training.

    Parameters
    ----------
    store, method
        Values of ``--store`` and ``--method``.
    model
        A trained model whose intervals are used, too.
    checks, compounds
        Show and reject only these; all if empty.
    output, overwrite
        Of the figure; None draws none.
    reject
        Exclude faulty labels; with checks or compounds suspect ones, too.
    quiet, as_json, as_csv
        Of the output.

    Returns
    -------
    int
        Exit status.
    """
    check_one_format(as_json, as_csv)
    if output is not None:
        from workflows.cli.plot import FORMATS, check_output

        check_output(output, overwrite, FORMATS)
    uri = resolve_store_uri(store)
    audits = _audits(uri, method, model, checks, quiet)
    findings = [f for audit in audits for f in audit.findings]
    if compounds:
        known = {c.formula for c in findings} | {c.compound for c in findings}
        if unknown := [name for name in compounds if name not in known]:
            there = ", ".join(sorted({f.formula for f in findings})) or "none"
            raise InputError(f"--compound {unknown[0]}: no finding on it; there are findings on {there}")
        findings = [f for f in findings if f.formula in compounds or f.compound in compounds]
    rejected: dict[str, int] = {}
    if reject:
        chosen = findings if checks or compounds else [f for f in findings if f.level == "faulty"]
        with store_to_write(uri) as opened:
            rejected = dict(exclude(opened, _reasons(chosen)))
    if output is not None:
        _draw(output, audits, findings)
    if as_json:
        plain = [{"method": a.method, "slabs": a.slabs, "compounds": a.compounds, "compared": a.compared,
                  "notes": list(a.notes)} for a in audits]  # fmt: skip
        shown = {"audited": plain, "findings": [f.plain() for f in findings], "rejected": rejected}
        print(json.dumps(shown, indent=2))
    elif as_csv:
        _print_csv(findings)
    else:
        _print(audits, findings)
        if output is not None:
            print(f"figure in {output}")
        if reject:
            _print_rejected(rejected)
        elif findings:
            print("mgsurf audit --reject keeps faulty labels out of training, --accept undoes it")
    return 0


def accept_labels(names: Sequence[str], store: str | None) -> int:
    """Undo exclusions of records, compounds or all.

    Raises
    ------
    InputError
        If nothing of these names is excluded.
    """
    with store_to_write(store) as opened:
        counts = accept(opened, frozenset(names))
    if not counts:
        raise InputError(
            f"--accept: no label of {', '.join(names)} is excluded; mgsurf audit --excluded lists them"
        )
    print("accepted again: " + ", ".join(f"{n} {t}" for t, n in sorted(counts.items())))
    return 0


def show_excluded(store: str | None, as_json: bool) -> int:
    """List the labels that are kept out of training, with the reasons."""
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
    print_text(f"{counted(len(found), 'label')} excluded; mgsurf audit --accept FORMULA, ID or all undoes it")
    return 0


def excluded_table(rows: Mapping[tuple[str, str, str], Sequence[str]]) -> Table:
    """Table of excluded labels; `rows` has record ids by formula, target and reason."""
    columns = [Column("compound"), Column("label"), Column("records", right=True)]
    table = Table([*columns, Column("reason", wrap=True, room=24)])
    for (formula, target, reason), ids in rows.items():
        table.add_row(formula, SYMBOLS.get(target, (target,))[0], str(len(ids)), reason)
    return table


def _audits(
    uri: str, method: str | None, model: str | None, checks: Sequence[str], quiet: bool
) -> list[Audit]:
    from importlib.util import find_spec

    from model.audit.checks import audit_slabs
    from model.audit.finding import CHECKS
    from model.audit.slabs import read_audit_slabs
    from model.graphs.cache import GraphCache

    wanted = tuple(checks) or CHECKS
    with_trees = find_spec("sklearn") is not None
    if not with_trees and {"bulk-energy", "outlier"} & set(wanted):
        print(
            f"mgsurf: no comparison with trees, scikit-learn is not installed: {install_command('model')}",
            file=sys.stderr,
        )
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


def _size(finding: Finding) -> str:
    symbol, unit, digits = SYMBOLS[finding.target]
    return f"{symbol} {finding.size:+.{digits}f} {unit}"


def finding_table(findings: Sequence[Finding], title: str, style: str) -> Table:
    """Table of labels that contradict others."""
    columns = [Column("compound"), Column("check"), Column("size"), Column("facets", right=True)]
    table = Table([*columns, Column("reason", wrap=True, room=24)], title, style)
    for finding in findings:
        cells = (finding.formula, finding.check, _size(finding), str(finding.compared), finding.reason)
        table.add_row(*cells)
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
            print(f"mgsurf: {audit.method}: {note}", file=sys.stderr)
        print(
            f"{counted(audit.slabs, 'slab')} of {counted(audit.compounds, 'compound')} ({audit.method}), "
            f"{audit.compared} compared with peers: "
            f"{sum(f.level == 'faulty' for f in audit.findings)} faulty, "
            f"{sum(f.level == 'suspect' for f in audit.findings)} suspect"
        )


def _print_rejected(counts: Mapping[str, int]) -> None:
    print(excluded_line(counts) or "nothing more to exclude")


def _print_csv(findings: Sequence[Finding]) -> None:
    import csv

    columns = ("compound", "formula", "check", "level", "target", "size", "unit", "compared", "n_records",
               "bulk_energy_error", "work_function_shift", "method", "reason")  # fmt: skip
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n", extrasaction="ignore", restval="")
    writer.writeheader()
    for finding in findings:
        row: dict[str, Any] = {**finding.plain(), "n_records": len(finding.records)}
        writer.writerow(row)
