"""A suggestion as a table, JSON or CSV."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

from stores.errors import pluralize
from workflows.cli.console import print_table, print_text
from workflows.report.table import Column, Table
from workflows.structures.naming import format_plane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.cli.suggest_answer import Answer
    from workflows.flows.learning.suggestion import Suggested


def print_answer(answer: Answer, *, as_json: bool, as_csv: bool) -> None:
    """Print what was chosen on stdout and the notes on stderr."""
    if as_json:
        print(json.dumps(plain(answer), indent=2))
    elif as_csv:
        _print_csv(answer)
    elif answer.suggestion.chosen:
        _print(answer)
    for note in answer.notes:
        print(f"mgsurf: {note}", file=sys.stderr)


def plain(answer: Answer) -> dict[str, Any]:
    """Return an answer for JSON."""
    chosen = answer.suggestion.chosen
    return {
        "strategy": answer.acquisition.strategy,
        "per_cost": answer.acquisition.per_cost,
        "model": answer.model,
        "candidates": answer.suggestion.n_pool,
        "core_hours": _rounded(sum(one.core_hours for one in chosen)),
        "cost": answer.cost,
        "notes": answer.notes,
        "chosen": [_row(number, one, answer.targets) for number, one in enumerate(chosen, start=1)],
    }


def _row(number: int, one: Suggested, targets: list[str]) -> dict[str, Any]:
    document = one.candidate
    numbers = {name: document["predictions"].get(name) for name in targets}
    return {
        "rank": number,
        "id": document["id"],
        "formula": document["formula"],
        "plane": _plane(document),
        "miller_index": list(document["miller_index"]),
        "termination": document["termination_label"],
        "termination_key": document["termination_key"],
        "n_atoms": document["n_atoms"],
        "kpoints": list(document["kpoints"]),
        **numbers,
        "distance": document["distance"],
        "lattice_is_guess": document["lattice_is_guess"],
        "core_hours": _rounded(one.core_hours),
        "score": _rounded(one.score),
        "reason": one.reason,
        "warnings": document["warnings"],
    }


def _print_csv(answer: Answer) -> None:
    import csv

    words = ("rank", "id", "formula", "plane", "termination", "n_atoms")
    more = ("distance", "lattice_is_guess", "core_hours", "score", "reason")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    columns = [f"{name}{ending}" for name in answer.targets for ending in ("", "_sigma")]
    writer.writerow([*words, *columns, *more, "warnings"])
    for row in plain(answer)["chosen"]:
        numbers = [(row[name] or {}).get(key) for name in answer.targets for key in ("value", "sigma")]
        writer.writerow(
            [*(row[w] for w in words), *numbers, *(row[m] for m in more), "; ".join(row["warnings"])]
        )


def batch_table(chosen: Sequence[Suggested], targets: Sequence[str]) -> Table:
    """Table of chosen slabs with their predictions, costs and the reason of each choice."""
    from rich.text import Text

    from workflows.report.training_figures import unit_of

    symbols = {"surface_energy": "γ", "work_function": "Φ"}
    columns = [
        Column("rank", right=True),
        Column("compound"),
        Column("facet"),
        Column("termination", short="term."),
    ]
    columns.append(Column("atoms", right=True))
    for target in targets:
        name, _, method = target.partition("@")
        symbol = symbols.get(name, name.replace("_", " ")) + (f" {method.split('-')[0]}" if method else "")
        columns.append(Column(f"{symbol}\n{unit_of(name)}", right=True))
    table = Table([*columns, Column("cost\ncore-h", right=True), Column("reason", wrap=True, room=12)])
    for number, one in enumerate(chosen, start=1):
        document = one.candidate
        # a note below the table counts estimated lattices; the second name is that of older candidates
        shown = [w for w in document["warnings"] if w not in ("estimated lattice", "lattice is a guess")]
        warnings = "; ".join(shown)
        table.add_row(
            str(number),
            document["formula"],
            _plane(document),
            document["termination_label"],
            str(document["n_atoms"]),
            *(_with_sigma(document["predictions"].get(target)) for target in targets),
            _hours(one.core_hours),
            Text.assemble(one.reason, (f"\n{warnings}" if warnings else "", "yellow")),
        )
    return table


def _print(answer: Answer) -> None:
    chosen = answer.suggestion.chosen
    print_table(batch_table(chosen, answer.targets))
    by = f", model {answer.model}" if answer.model else ""
    total = _hours(sum(one.core_hours for one in chosen))
    print_text(
        f"{len(chosen)} of {pluralize(answer.suggestion.n_pool, 'candidate')}, {total} core-hours; strategy "
        f"{answer.acquisition.strategy}{' per cost' if answer.acquisition.per_cost else ''}{by}"
    )
    print_text(answer.cost)


def _plane(document: dict[str, Any]) -> str:
    return format_plane(document["miller_index"], document["spacegroup_number"])


def _with_sigma(predicted: dict[str, float | None] | None) -> str:
    """Write a value with as many decimals as two digits of its standard deviation."""
    value, sigma = (predicted or {}).get("value"), (predicted or {}).get("sigma")
    if value is None:
        return "-"
    if not sigma:
        return f"{value:.4g}"
    decimals = max(1 - math.floor(math.log10(sigma)), 0)
    return f"{value:.{decimals}f} ± {sigma:.{decimals}f}"


def _hours(value: float) -> str:
    """Write core-hours, which are known to two digits at best."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
