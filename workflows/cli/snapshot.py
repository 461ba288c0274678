"""`mgsurf snapshot`: make, list, show and compare the sets of values that models are trained on."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import pluralize
from workflows.cli.access import existing_store, store_to_write
from workflows.cli.completion import snapshot_ids
from workflows.cli.console import print_table
from workflows.cli.options import JsonOption, StoreOption
from workflows.cli.typer_app import LOOP, App, app
from workflows.execution.progress_bar import ProgressBar
from workflows.report.table import Column, Table
from workflows.report.training_figures import add_unit, significant, target_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stores.learning.snapshot_changes import Difference, News
    from stores.learning.snapshots import Snapshot
    from stores.surfaces import SurfaceStore

    DiffRow = tuple[str, str, str, Mapping[str, float], Mapping[str, float], str]

SHOWN_ID = 12  # digits of an id in tables; commands take any beginning that fits one snapshot alone

SHOWN_ROWS = 100
NOW = "now"  # stands for a snapshot of the store as it is

_NAMED = 5  # record ids in a sentence

SnapshotArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        autocompletion=snapshot_ids,
        help="Of the snapshot; a beginning that fits one alone will do.",
    ),
]

snapshot = App(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(
    snapshot,
    name="snapshot",
    rich_help_panel=LOOP,
    help="Freeze training sets: the accepted values that models are trained on.\n\n"
    "Example: [cyan]mgsurf snapshot create[/cyan], then [cyan]mgsurf train --snapshot ID[/cyan]",
)


@snapshot.command("create")
def create(
    target: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this target (may be repeated).")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only labels of this method or source (may be repeated)."),
    ] = None,
    separate: Annotated[
        bool, typer.Option("--separate", help="Targets that several methods computed: one of each.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Freeze a training set: accepted values and slabs of a store; equal content, equal id.

    Example: [cyan]mgsurf snapshot create --method vasp-production[/cyan]
    """
    from stores.exclusions import excluded_line
    from stores.learning.snapshots import draft_snapshot, save_snapshot

    with store_to_write(store) as opened, ProgressBar() as bar:
        bar.show("reading slabs")
        draft = draft_snapshot(opened, target or None, methods=method or None, separate=separate)
        new = save_snapshot(opened, draft)
    if as_json:
        print(json.dumps({**_plain(draft.snapshot), "new": new, "excluded": draft.excluded}, indent=2))
        return 0
    print_table(heads_table(draft.snapshot))
    known = "" if new else "; the store had it already"
    print(f"snapshot {draft.snapshot.id} of {pluralize(draft.snapshot.n_records, 'record')}{known}")
    if draft.left_out:
        print(draft.left_out)
    if line := excluded_line(draft.excluded):
        print(line)
    return 0


@snapshot.command("list")
def list_all(store: StoreOption = None, as_json: JsonOption = False) -> int:
    """List the snapshots of a store and the models that were trained on them.

    Example: [cyan]mgsurf snapshot list[/cyan]
    """
    from stores.learning.snapshots import list_snapshots

    with existing_store(store) as opened:
        found = list_snapshots(opened)
        users = _models_of(opened)
    if as_json:
        print(json.dumps([{**_plain(one), "models": users.get(one.id, [])} for one in found], indent=2))
    elif not found:
        print("no snapshots; mgsurf snapshot create makes one")
    else:
        print_table(snapshot_table(found, users))
    return 0


def snapshot_table(found: Sequence[Snapshot], users: Mapping[str, Sequence[str]]) -> Table:
    """Table of snapshots with the models trained on each."""
    columns = [Column("snapshot"), Column("made (UTC)"), Column("records", right=True)]
    table = Table([*columns, Column("targets", wrap=True, room=20), Column("models", wrap=True)])
    for one in found:
        labels = ", ".join(f"{target_name(head.name)} ({head.labels})" for head in one.heads)
        made = one.created_at[:16].replace("T", " ")
        table.add_row(one.id[:SHOWN_ID], made, str(one.n_records), labels, ", ".join(users.get(one.id, [])))
    return table


@snapshot.command("show")
def show(name: SnapshotArgument, store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Show what a snapshot holds and what was added, removed or changed in the store since.

    Example: [cyan]mgsurf snapshot show 3fa9[/cyan]
    """
    from stores.learning.snapshot_changes import news_since
    from stores.learning.snapshots import find_snapshot

    with existing_store(store) as opened:
        found = find_snapshot(opened, name)
        news = news_since(opened, found)
        users = _models_of(opened).get(found.id, [])
    if as_json:
        since = {key: list(ids) for key, ids in asdict(news).items()}
        records = [record for record, _ in found.records]
        print(json.dumps({**_plain(found), "models": users, "since": since, "records": records}, indent=2))
        return 0
    print_table(heads_table(found))
    print(f"snapshot {found.id}, made {found.created_at[:16].replace('T', ' ')} UTC")
    print(f"{pluralize(found.n_records, 'record')}; models: {', '.join(users) or 'none'}")
    print(f"since then: {_news(news)}")
    if news.deleted:
        more = f" and {len(news.deleted) - _NAMED} more" if len(news.deleted) > _NAMED else ""
        named = ", ".join(list(news.deleted)[:_NAMED]) + more
        print(f"no longer in the store, but kept in the snapshot for training: {named}")
    return 0


@snapshot.command("diff")
def diff(
    old: Annotated[
        str,
        typer.Argument(
            metavar="A", autocompletion=snapshot_ids, help="A snapshot, or the beginning of its id."
        ),
    ],
    new: Annotated[
        str,
        typer.Argument(
            metavar="[B]",
            autocompletion=snapshot_ids,
            help="Another; or now, the store as it is.",
            show_default=True,
        ),
    ] = NOW,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Compare two snapshots: records added, removed and changed, with old and new values.

    Examples: [cyan]mgsurf snapshot diff 3fa9 b01c[/cyan], [cyan]mgsurf snapshot diff 3fa9 now[/cyan]
    """
    from stores.learning.snapshot_changes import diff_snapshots
    from stores.learning.snapshots import draft_snapshot, find_snapshot

    with existing_store(store) as opened:
        one = find_snapshot(opened, old)
        if new == NOW:
            with ProgressBar() as bar:
                bar.show("reading slabs")
                names = list(dict.fromkeys(head.target for head in one.heads))
                methods = list(dict.fromkeys(head.method for head in one.heads))
                two = draft_snapshot(opened, names, methods=methods, separate=True)
            difference, later = diff_snapshots(opened, one, two), NOW
        else:
            other = find_snapshot(opened, new)
            difference, later = diff_snapshots(opened, one, other), other.id
    if as_json:
        print(json.dumps({"old": one.id, "new": later, **_plain_difference(difference)}, indent=2))
    else:
        _print_difference(difference, one.id, later)
    return 0


def _plain(snapshot: Snapshot) -> dict[str, Any]:
    return {name: value for name, value in asdict(snapshot).items() if name != "records"}


def _plain_difference(difference: Difference) -> dict[str, Any]:
    names = ("record_id", "formula", "chemsys", "method", "targets")
    return {
        "added": [{name: item[name] for name in names} for item in difference.added],
        "removed": [{name: item[name] for name in names} for item in difference.removed],
        "changed": [asdict(change) for change in difference.changed],
    }


def _print_difference(difference: Difference, old: str, new: str) -> None:
    rows: list[DiffRow] = []
    for item in difference.added:
        rows.append(("added", item["record_id"], item["formula"], {}, item["targets"], ""))
    for item in difference.removed:
        rows.append(("removed", item["record_id"], item["formula"], item["targets"], {}, ""))
    for change in difference.changed:
        remarks = []
        if change.slab_changed:
            remarks.append("slab changed")
        if change.old_method != change.new_method:
            remarks.append(f"{change.old_method} -> {change.new_method}")
        rows.append(("changed", change.record_id, change.formula, change.old, change.new, "; ".join(remarks)))
    if rows:
        print_table(difference_table(rows[:SHOWN_ROWS]))
    if len(rows) > SHOWN_ROWS:
        print(f"{SHOWN_ROWS} of {len(rows)} records shown; --json shows all")
    later = "the store as it is" if new == NOW else new[:SHOWN_ID]
    if rows:
        print(
            f"from {old[:SHOWN_ID]} to {later}: {len(difference.added)} added, "
            f"{len(difference.removed)} removed, {len(difference.changed)} changed"
        )
    else:
        print(f"{old[:SHOWN_ID]} and {later} hold the same")


def difference_table(rows: Sequence[DiffRow]) -> Table:
    """Table of records that differ, with old and new values."""
    targets = list(dict.fromkeys(name for row in rows for name in (*row[3], *row[4])))
    columns = [Column("change"), Column("record"), Column("compound")]
    columns += [Column(target_name(target), right=True) for target in targets]
    table = Table([*columns, Column("remark", wrap=True)])
    for kind, record, formula, before, after, remark in rows:
        values = [_step(before.get(target), after.get(target), kind) for target in targets]
        table.add_row(kind, record, formula, *values, remark)
    return table


def _step(before: float | None, after: float | None, kind: str) -> str:
    if kind != "changed":
        value = before if after is None else after
        return "" if value is None else significant(value, 4)
    if before == after:
        return "" if after is None else significant(after, 4)
    old, new = ("none" if value is None else significant(value, 4) for value in (before, after))
    return f"{old} -> {new}"


def heads_table(snapshot: Snapshot) -> Table:
    """Table of the targets of a snapshot."""
    table = Table([Column("target", wrap=True), Column("labels", right=True), Column("method")])
    for head in snapshot.heads:
        table.add_row(add_unit(target_name(head.name), head.target, head.unit), str(head.labels), head.method)
    return table


def _news(news: News) -> str:
    parts = [
        pluralize(len(news.added), "new record"),
        f"{len(news.changed)} changed",
        f"{len(news.removed)} gone or no longer accepted",
    ]
    if news.other_methods:
        parts.append(f"{len(news.other_methods)} of other methods, which do not count")
    return ", ".join(parts)


def _models_of(store: SurfaceStore) -> dict[str, list[str]]:
    """Return the versions that were trained on each snapshot."""
    users: dict[str, list[str]] = {}
    for card in store.collection("models").query({}, ["version", "snapshot"], sort={"version": 1}):
        users.setdefault(card.get("snapshot") or "", []).append(f"v{card['version']}")
    return users
