"""`mgsurf models`: the registry of trained models, and which of them is in use."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import pluralize
from workflows.cli.access import MODEL_FOLDER, existing_store, store_to_write
from workflows.cli.completion import registered_models
from workflows.cli.console import print_facts, print_note, print_table, print_text
from workflows.cli.learning import (
    OF_CLASSES,
    OF_SETS,
    OF_TEST,
    SHARES,
    classes_table,
    errors_table,
    require_network,
    three_digits,
)
from workflows.cli.options import JsonOption, StoreOption
from workflows.cli.typer_app import LOOP, App, app
from workflows.report.table import Column, Table
from workflows.report.training_figures import add_unit, target_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stores.learning.decisions import DecisionLog, ModelStatus
    from stores.learning.model_card import LabelSource, ModelCard, PastTraining
    from stores.learning.registry import ModelRegistry
    from stores.surfaces import SurfaceStore

SHOWN_ID = 12  # digits of a snapshot's id
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", autocompletion=registered_models, help="v1, v2, ..., champion or latest."
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the decision log.")]

models = App(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(
    models,
    name="models",
    rich_help_panel=LOOP,
    help="Register trained models, compare them, and choose the one in use.\n\n"
    "Example: [cyan]mgsurf models add mgsurf_model/[/cyan], then [cyan]mgsurf models promote v1[/cyan]",
)


@contextmanager
def _registry(store: str | None, *, write: bool = False) -> Iterator[ModelRegistry]:
    from stores.learning.registry import ModelRegistry

    with store_to_write(store) if write else existing_store(store) as opened:
        yield ModelRegistry(opened)


@models.command("add")
def add(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="As mgsurf train wrote it.", show_default=True)
    ] = MODEL_FOLDER,
    judged_by: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", help="Same settings and data, another split: its errors too (may be repeated)."
        ),
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make it the champion at once.")] = False,
    note: Annotated[str, typer.Option(metavar="TEXT", help="For its card.")] = "",
    pretrained: Annotated[
        str,
        typer.Option(metavar="NAME", help="Let --from pretrained:NAME find it, as one of mgsurf pretrain."),
    ] = "",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Register a trained model as a candidate: its card and its weights, in the store.

    Example: [cyan]mgsurf models add mgsurf_model/ --judged-by by_system/[/cyan]
    """
    require_network()
    from model.promotion.registration import facts_of_run, weight_files
    from stores.learning.model_card import checked_name

    facts = facts_of_run(folder, judged_by or []).model_copy(
        update={"note": note, "pretrained": checked_name(pretrained)}
    )
    files = weight_files(folder)
    with _registry(store, write=True) as registry:
        card, new = registry.add(facts, files)
        if promote:
            registry.promote(card.version, note or "promoted when it was registered")
        status = registry.decision_log().status(card.version)
    if as_json:
        print(json.dumps({**_plain(card, status), "new": new}, indent=2))
    else:
        known = "" if new else ", which had it already"
        print(f"{card.name} ({status.state}) in {registry.store.uri}{known}: {card.label}")
    if card.snapshot is None and not card.pretrained:
        print_note(
            "it was trained without a snapshot and cannot be trained again once records change; "
            "mgsurf snapshot create, then mgsurf train --snapshot"
        )
    return 0


@models.command("list")
def list_all(store: StoreOption = None, as_json: JsonOption = False) -> int:
    """List the models of a store: state, snapshot, errors.

    Example: [cyan]mgsurf models list[/cyan]
    """
    with _registry(store) as registry:
        cards, log = registry.cards(), registry.decision_log()
    if as_json:
        print(json.dumps([_plain(card, log.status(card.version)) for card in cards], indent=2))
    elif not cards:
        print("no models; mgsurf models add FOLDER registers what mgsurf train wrote")
    else:
        print_table(model_table(cards, log))
        print_text(
            "MAE, or mean F1 of classes, on the test set of the split that each was trained with; mgsurf "
            "models compare A B shows all"
        )
    return 0


@models.command("show")
def show(name: ModelArgument = "champion", store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Show a model's card: data, settings, errors by split and element, weights, history.

    Example: [cyan]mgsurf models show v3[/cyan]
    """
    with _registry(store) as registry:
        card, log = registry.card(registry.resolve(name)), registry.decision_log()
    status = log.status(card.version)
    if as_json:
        print(json.dumps(_plain(card, status), indent=2))
        return 0
    print_facts([("model", card.name), *_facts(card, status, log)])
    print()
    for split in card.metrics:
        if card.metrics[split]:
            print_table(errors_table(card.metrics[split], f"split {split}", card.noun))
    for split, found in card.classes.items():
        print_table(classes_table(found, card.noun, f"split {split}"))
    if (elements := element_table(card)) is not None:
        print_text(f"MAE of test {card.noun}s that hold an element")
        print_table(elements)
    return 0


@models.command("promote")
def promote(name: ModelArgument, reason: ReasonOption = "", store: StoreOption = None) -> int:
    """Make a model the champion, once its weights are known to be whole.

    Example: [cyan]mgsurf models promote v3 --reason "better on the hold-out"[/cyan]
    """
    with _registry(store, write=True) as registry:
        version = registry.resolve(name)
        before = registry.champion_version()
        decision = registry.promote(version, reason, replacing=before)
    if decision is None:
        print_note(f"v{version} is the champion already")
    else:
        print(f"v{version} is the champion" + (f"; v{before} is retired" if before is not None else ""))
    return 0


@models.command("rollback")
def rollback(reason: ReasonOption = "", store: StoreOption = None) -> int:
    """Go back to the champion before the present one.

    Example: [cyan]mgsurf models rollback --reason "wrong for Mg-La"[/cyan]
    """
    with _registry(store, write=True) as registry:
        decision, notes = registry.rollback(reason)
    for note in notes:
        print_note(note)
    print(f"v{decision.champion} is the champion again; v{decision.version} is retired")
    return 0


@models.command("compare")
def compare(
    one: Annotated[
        str,
        typer.Argument(
            metavar="A", autocompletion=registered_models, help="v1, v2, ..., champion or latest."
        ),
    ],
    other: Annotated[str, typer.Argument(metavar="B", autocompletion=registered_models, help="The same.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Print the errors of two models side by side, with their differences.

    Example: [cyan]mgsurf models compare champion latest[/cyan]
    """
    with _registry(store) as registry:
        a, b = (registry.card(registry.resolve(name)) for name in (one, other))
        remarks = [*_remarks(a, b), *_other_methods(registry.store, a, b)]
    rows = list(_side_by_side(a, b))
    if as_json:
        print(json.dumps({"a": a.name, "b": b.name, "rows": rows, "remarks": remarks}, indent=2))
        return 0
    if rows:
        print_table(comparison_table(rows, a.name, b.name))
    else:
        print(f"{a.name} and {b.name} share no split and target")
    for remark in remarks:
        print_note(remark)
    return 0


def model_table(cards: Sequence[ModelCard], log: DecisionLog) -> Table:
    """Table of models, one version a row."""
    targets = list(dict.fromkeys(target for card in cards for target in card.targets))
    classes = {target for card in cards for found in card.classes.values() for target in found}
    errors = [
        f"{target_name(t)} F1" if t in classes else add_unit(f"{target_name(t)} MAE", t) for t in targets
    ]
    table = Table(
        [
            Column("model"),
            Column("state"),
            Column("trained as", wrap=True, room=12),
            Column("snapshot"),
            *(Column(name, right=True) for name in errors),
            Column("reason", wrap=True, room=16),
        ]
    )
    for card in cards:
        status = log.status(card.version)
        table.add_row(
            card.name,
            status.state,
            _made_as(card),
            (card.snapshot or "none")[:SHOWN_ID],
            *(_first_error(card, target) for target in targets),
            status.reason,
            style="bold" if status.state == "champion" else "",
        )
    return table


def comparison_table(rows: Sequence[dict[str, Any]], one: str, other: str) -> Table:
    """Table of the errors of two models side by side."""
    from rich.text import Text

    columns = [
        Column("split", once=True),
        Column("target", wrap=True, once=True),
        Column("metric", wrap=True),
    ]
    table = Table([*columns, *(Column(name, right=True) for name in (one, other, "difference"))])
    for row in rows:
        before, after = row["a"], row["b"]
        change = "" if row["difference"] is None else _change(before, after, share=row["share"])
        style = {True: "green", False: "red", None: ""}[row["better"]]
        table.add_row(
            row["split"],
            add_unit(target_name(row["target"]), row["target"]),
            row["metric"],
            three_digits(before, share=row["share"]),
            three_digits(after, share=row["share"]),
            Text(change, style=style),
        )
    return table


def _plain(card: ModelCard, status: ModelStatus) -> dict[str, Any]:
    return {**card.model_dump(mode="json"), **status.model_dump(mode="json")}


def _facts(card: ModelCard, status: ModelStatus, log: DecisionLog) -> Iterator[tuple[str, str]]:
    from model.data.provenance import trainings_on

    since = f", {status.since:%Y-%m-%d %H:%M} UTC" if status.since else ""
    yield "state", f"{status.state}{since}" + (f": {status.reason}" if status.reason else "")
    yield "trained as", _made_as(card)
    yield "snapshot", card.snapshot or "none: it cannot be trained again once records change"
    if card.sizes:
        yield f"{card.noun}s", ", ".join(f"{number} {part}" for part, number in card.sizes.items())
    yield "elements", ", ".join(card.elements)
    yield "learned from", "; before that ".join(map(_training, trainings_on(card)))
    if card.seconds is not None:
        yield "training time", f"{card.seconds:.0f} s"
    yield "code", card.code_version or "unknown"
    yield "libraries", ", ".join(f"{name} {number}" for name, number in card.libraries.items()) or "unknown"
    yield "registered", f"{card.created_at:%Y-%m-%d %H:%M} UTC by {card.made_by}"
    yield "champion before", "none" if card.champion_before is None else f"v{card.champion_before}"
    if card.pretrained:
        yield "pre-trained", f"--from pretrained:{card.pretrained} (the latest of that name)"
    for one in card.label_sources:
        yield one.name, _source(one)
    size = sum(file.size for file in card.weights.files) / 1e6
    yield "weights", f"{size:.1f} MB in {card.weights.place}, sha256 {card.weights.sha256[:16]}..."
    decided = [d for d in log.decisions if card.version in (d.version, d.champion) and d.action != "reject"]
    if len(decided) > 1:
        yield "history", "; ".join(f"{d.action} v{d.version} {d.decided_at:%Y-%m-%d}" for d in decided)
    if card.note:
        yield "note", card.note


def _source(one: LabelSource) -> str:
    kind = "crystals" if one.kind == "bulk" else "slabs"
    unit = f" in {one.unit}" if one.unit else ""
    sets = ", ".join(f"{n} {part}" for part, n in one.labels.items())
    words = f"{one.target}{unit} of {kind} ({sets}), {pluralize(len(one.elements), 'element')}"
    return f"{words}; {one.origin}" if one.origin else words


def _training(one: PastTraining) -> str:
    slabs = "unknown data" if one.compounds is None else pluralize(one.compounds, "compound")
    split = f" by split {one.split}" if one.split else ""
    held = (
        "unknown whether any is of the hold-out"
        if one.held_out is None
        else f"{len(one.held_out) or 'none'} of the hold-out"
    )
    return f"{slabs}{split} ({held})"


def element_table(card: ModelCard) -> Table | None:
    """Table of the test MAE of each element, the splits side by side; None without such errors."""
    columns = [(split, target) for split in card.metrics for target in card.metrics[split]]
    found = [card.metrics[split][target].get("by_element") or {} for split, target in columns]
    elements = sorted({element for errors in found for element in errors})
    if not elements:
        return None
    names = [
        add_unit(f"{target_name(target)}, {split}", target, card.metrics[split][target].get("unit"))
        for split, target in columns
    ]
    table = Table([Column("element"), *(Column(name, right=True) for name in (f"{card.noun}s", *names))])
    for element in elements:
        errors = [by_element.get(element) for by_element in found]
        slabs = max(e["n"] for e in errors if e)
        table.add_row(element, str(slabs), *(three_digits(e["mae"]) if e else "-" for e in errors))
    return table


def _side_by_side(a: ModelCard, b: ModelCard) -> Iterator[dict[str, Any]]:
    """Yield a row for each number that both have, of validation and test sets."""
    for split in a.metrics:
        for target, ours in a.metrics[split].items():
            theirs = b.metrics.get(split, {}).get(target)
            if theirs is None:
                continue
            for part in ("val", "test"):
                for key, words in OF_SETS.items():
                    pair = ours.get(part, {}).get(key), theirs.get(part, {}).get(key)
                    yield _row(split, target, f"{part} {words}", *pair, key)
            for key, words in OF_TEST.items():
                yield _row(split, target, f"test {words}", ours.get(key), theirs.get(key), key)
    for split, found in a.classes.items():
        for target, ours in found.items():
            theirs = b.classes.get(split, {}).get(target, {})
            for part in ("val", "test") if theirs else ():
                for key, words in OF_CLASSES.items():
                    pair = ours[part].get(key), theirs[part].get(key)
                    yield _row(split, target, f"{part} {words}", *pair, key)


def _row(split: str, target: str, metric: str, a: float | None, b: float | None, key: str) -> dict[str, Any]:
    """Make a row; `better` is None where neither is."""
    difference = None if a is None or b is None else b - a
    sign = {"r2": -1, "coverage_90": 0, **dict.fromkeys(OF_CLASSES, -1)}.get(key, 1)  # of what is worse
    better = None if not difference or not sign else difference * sign < 0
    return {
        "split": split, "target": target, "metric": metric, "a": a, "b": b, "difference": difference,
        "better": better, "share": key in SHARES or key in OF_CLASSES,
    }  # fmt: skip


def _remarks(a: ModelCard, b: ModelCard) -> list[str]:
    """Return the reasons why two columns of numbers may not be compared as they stand."""
    from model.data.provenance import seen_by
    from model.data.splits import HOLDOUT

    found = []
    if a.data != b.data:
        found.append(
            f"{a.name} and {b.name} were trained and tested on different {a.noun}s; only a common hold-out "
            "compares them fairly"
        )
    elif a.config.get("seed") != b.config.get("seed"):
        found.append(f"{a.name} and {b.name} were divided by different seeds: their test sets differ")
    for card in (a, b):
        if card.metrics.get(HOLDOUT) and seen_by(card) != frozenset():
            found.append(f"{card.name} may have learned from the hold-out and looks better there than it is")
    only = [s for s in (*a.metrics, *b.metrics) if (s in a.metrics) != (s in b.metrics)]
    if only:
        found.append(f"errors by the split {', '.join(dict.fromkeys(only))} are on one of the cards only")
    return found


def _other_methods(store: SurfaceStore, a: ModelCard, b: ModelCard) -> list[str]:
    from model.data.provenance import methods_of

    ours, theirs = methods_of(store, a.snapshot), methods_of(store, b.snapshot)
    return [
        f"{name}: {a.name} learned from labels of {ours[name]}, {b.name} from labels of {theirs[name]}; "
        "each is tested on its own"
        for name in ours
        if name in theirs and theirs[name] != ours[name]
    ]


def _first_error(card: ModelCard, target: str) -> str:
    """Write the MAE of a quantity, or the mean F1 of classes, by the first split that has it."""
    for errors, key in ((card.metrics, "mae"), (card.classes, "macro_f1")):
        for found in errors.values():
            if target in found:
                return three_digits(found[target].get("test", {}).get(key), share=key == "macro_f1")
    return ""


def _made_as(card: ModelCard) -> str:
    name = f"pretrained:{card.pretrained}, " if card.pretrained else ""
    return name + card.label + (f", {card.members} members" if card.members > 1 else "")


def _change(before: float, after: float, *, share: bool) -> str:
    sign = "+" if after > before else ""
    percent = "" if share or not before else f" ({100 * (after - before) / before:+.0f} %)"
    return f"{sign}{three_digits(after - before, share=share)}{percent}"
