"""Tables and sentences of `mgsurf ablate --advise`, made of its plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.report.table import Column, Table
from workflows.report.training_figures import significant, target_name, unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Row = Mapping[str, Any]

MINUS = "\N{MINUS SIGN}"


def criterion_name(row: Row) -> str:
    """Name a target and what it is judged by: "work function MAE (eV)"."""
    name = f"{target_name(row['target'])} {row['criterion']}"
    unit = unit_of(row["target"]) if row["criterion"] == "MAE" else ""
    return f"{name} ({unit})" if unit else name


def partners(names: Sequence[str]) -> str:
    """Name the targets that another is learned with."""
    return " + ".join(target_name(name) for name in names)


def shown_rows(rows: Sequence[Row]) -> list[Row]:
    """Return all ways of learning two targets; of more, with each set of others the best on validation."""
    if not _several(rows):
        return list(rows)
    best: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = row["target"], row["criterion"], *(row["with"] or [row["strategy"]])
        sign = 1 if row["criterion"] == "MAE" else -1
        if key not in best or sign * row["val"]["mean"] < sign * best[key]["val"]["mean"]:
            best[key] = row
    return list(best.values())


def options_table(rows: Sequence[Row]) -> Table:
    """Table of ways of learning each target: validation and test, change against alone."""
    several = _several(rows)
    table = Table(
        [
            Column("target", wrap=True, once=True, room=14),
            *([Column("with", wrap=True, once=True, room=10)] if several else []),
            Column("strategy", wrap=True, room=13),
            Column("validation", short="val.", right=True, spare=True),
            Column("test", right=True),
            Column("test change", right=True),
            Column("95 % interval", right=True),
        ],
        notes=[
            "Changes are against the target alone, paired by seed and fold; *: the interval leaves zero out, "
            "without correction for the number of comparisons."
        ],
    )
    for row in rows:
        change = row["test_change"]
        table.add_row(
            criterion_name(row),
            *([partners(row["with"]) or "-"] if several else []),
            strategy_name(row["strategy"]),
            significant(row["val"]["mean"]),
            significant(row["test"]["mean"]),
            "" if _is_reference(row) else _change(change["mean"], row) + _star(row),
            "" if _is_reference(row) or row["pairs"] < 2 else interval(change, row),
        )
    return table


def verdict_table(judged: Sequence[Row]) -> Table:
    """Table of the verdicts."""
    table = Table(
        [
            Column("target", wrap=True, room=14),
            Column("verdict", wrap=True),
            Column("validation\nchange (95 %)", right=True, wrap=True),
            Column("test\nchange (95 %)", right=True, wrap=True),
            Column("recommended", wrap=True, room=13),
            Column("its test change\nagainst alone", right=True, wrap=True),
        ],
        title="Best with others against best alone, chosen on validation",
    )
    several = len({name for one in judged for name in (one["target"], *one["together"]["with"])}) > 2
    for one in judged:
        same = one["strategy"] == "alone"
        with_whom = f" with {partners(one['with'])}" if several and one["with"] else ""
        table.add_row(
            criterion_name(one),
            one["verdict"],
            *(_with_interval(one[f"{part}_change"], one) for part in ("val", "test")),
            strategy_name(one["strategy"]) + with_whom,
            "-" if same else _with_interval(one["recommended_test_change"], one),
            style="bold" if one["verdict"] in ("together", "alone") else "",
        )
    return table


def strategy_name(name: str) -> str:
    """Name a strategy with spaces, at which it wraps."""
    return name.replace("+", " + ")


def reason(one: Row) -> str:
    """State a verdict with its numbers and the angle between gradients."""
    pairs, name = one["pairs"], f"{target_name(one['target'])} by {one['criterion']}"
    others = partners(one["together"]["with"])
    together = f"together with {others} ({strategy_name(one['together']['strategy'])})"
    if one["verdict"] == "undecided":
        verdict = f"undecided, {pairs} of at least 3 pairs; add --seeds or --folds"
    elif one["verdict"] == "no difference":
        verdict = "no difference"
    else:
        verdict = f"learn it {together if one['verdict'] == 'together' else 'alone'}"
    subject = "it is" if one["verdict"] == "together" else f"{together} is"
    facts = (
        f"Against {strategy_name(one['alone'])}, {subject} {_with_interval(one['val_change'], one)} on "
        f"validation, {_with_interval(one['test_change'], one)} on test, {pairs} "
        f"pair{'s' if pairs != 1 else ''}."
    )
    if one["angle"] is None:
        return f"{name}: {verdict}. {facts}"
    return (
        f"{name}: {verdict}. {facts} Gradients at {one['angle']:.0f}° in the mean, above 90° in "
        f"{100 * one['conflicts']:.0f} % of epochs."
    )


def interval(change: Row, row: Row) -> str:
    """Write the interval of a change: relative for errors, a difference for F1 and recall."""
    low, high = _change(change["low"], row, unit=False), _change(change["high"], row)
    return f"{low} to {high}"


def markdown(summary: Row, reasons: Sequence[str]) -> str:
    """Return the text of ``advice.md``."""
    rows, judged = summary["options"], summary["verdicts"]
    labels = ", ".join(f"{target_name(name)} {count}" for name, count in summary["labels"].items())
    lines = [
        f"Preset {summary['preset']} (networks alone), split by {summary['split']}; labels: {labels}.",
        "",
    ]
    for table in (options_table(rows), verdict_table(judged)):
        lines += [table.title, ""] if table.title else []
        lines += [*table.markdown(), "", *table.notes, ""]
    return "\n".join([*lines, *(f"* {line}" for line in reasons)]).rstrip() + "\n"


def _several(rows: Sequence[Row]) -> bool:
    """Whether a target is learned with several others, so that these must be named."""
    return len({name for row in rows for name in (row["target"], *row["with"])}) > 2


def _is_reference(row: Row) -> bool:
    return bool(row["strategy"] == "alone")


def _star(row: Row) -> str:
    change = row["test_change"]
    return "*" if row["pairs"] >= 3 and not change["low"] <= 0 <= change["high"] else ""


def _with_interval(change: Row, row: Row) -> str:
    mean = _change(change["mean"], row)
    return mean if row["pairs"] < 2 else f"{mean} ({interval(change, row)})"


def _change(value: float, row: Row, *, unit: bool = True) -> str:
    if row["criterion"] == "MAE":
        text = f"{100 * value:+.1f}"
        text += " %" if unit else ""
    else:
        text = f"{value:+.3f}"
    return text.replace("-", MINUS)
