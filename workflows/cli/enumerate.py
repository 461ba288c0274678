"""`mgsurf enumerate CAMPAIGN.yaml`: from its sources to a list of compounds, frozen in a lock file."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.connections import open_store, resolve_store_uri
from stores.errors import InputError, MgsurfError, pluralize
from workflows.cli.console import check_one_format, page, print_table, print_text
from workflows.cli.enumerate_table import TABLE_ROWS, compound_table, hours_text, print_csv, row
from workflows.engines.registry import make_engine
from workflows.execution.progress_bar import ProgressBar
from workflows.flows.campaign.file import left_out_line, load_campaign, why_not
from workflows.flows.campaign.resources import seconds_in
from workflows.flows.enumeration.cost import CostModel, Meshes, calibrated
from workflows.flows.enumeration.enumeration import Enumeration, enumerate_campaign
from workflows.flows.enumeration.lock_file import changes, is_made_from, lock_path, read_lock, write_lock

if TYPE_CHECKING:
    from rich.console import Console

    from workflows.engines.protocol import Engine
    from workflows.flows.campaign.settings import Campaign

SHOWN_PROBLEMS = 20


def enumerate_compounds(
    campaign: Path,
    *,
    store: str | None = None,
    refresh: bool = False,
    max_age: str | None = None,
    update: bool = False,
    output: Path | None = None,
    workers: int | None = None,
    quiet: bool = False,
    as_json: bool = False,
    as_csv: bool = False,
) -> int:
    """List the compounds of a campaign's sources and freeze them.

    Parameters
    ----------
    campaign
        The campaign file.
    store
        URI of the store whose calculations calibrate the cost.
    refresh
        Query the databases again.
    max_age
        Of their answers on disk, such as 12h or 7d.
    update
        Replace a lock file whose compounds differ.
    output
        Where to write the lock file instead of beside the campaign file.
    workers
        Processes that count slabs.
    quiet
        No progress bar.
    as_json, as_csv
        Instead of a table.

    Returns
    -------
    int
        Exit status: 0 if the list is complete, 1 if something was left out.

    Raises
    ------
    MgsurfError
        If campaign, engine or lock file cannot be used.
    """
    check_one_format(as_json, as_csv)
    settings = load_campaign(campaign)
    engine = make_engine(settings.engine.name, settings.engine.preset, **settings.engine.options)
    method = engine.method()
    with ProgressBar(quiet) as bar:
        found = enumerate_campaign(
            settings,
            Meshes.of(method, settings.slabs.vacuum),
            refresh=refresh,
            max_age=_age(max_age),
            workers=workers,
            progress=bar.show,
        )
    model = _cost_model(settings, engine, store)
    rows, left_out = _rows(found, model, engine)
    console = page()
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif as_csv:
        print_csv(rows)
    elif rows:
        print_table(compound_table(rows), console)
    if as_json or as_csv:
        console = page(stderr=True)
    _conclude(console, settings, found, rows, [*found.notes, *left_out], model)
    if not rows:
        return 1
    path = output or lock_path(settings)
    for line in settle(found, path, settings, update=update):
        print_text(line, console)
    return 1 if found.problems else 0


def _age(text: str | None) -> timedelta | None:
    if text is None:
        return None
    seconds = seconds_in(text)
    if seconds is None:
        raise InputError(f"--max-age: {text!r} is no span of time; write it as 30min, 12h or 7d")
    return timedelta(seconds=seconds)


def _cost_model(settings: Campaign, engine: Engine, store: str | None) -> CostModel:
    """Calibrate on the campaign's store if there is one; only a store that was asked for must be there."""
    try:
        with open_store(resolve_store_uri(store, settings.store), must_exist=True) as results:
            return calibrated(engine.method(), results)
    except MgsurfError:
        if store is not None:
            raise
        return calibrated(engine.method(), None)


def _rows(found: Enumeration, model: CostModel, engine: Engine) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what is shown of each compound, and one line for each reason not to compute some."""
    known: dict[tuple[str, ...], str] = {}
    reasons: dict[str, list[str]] = {}
    rows = []
    for compound, work in zip(found.lock.compounds, found.works, strict=True):
        elements = tuple(sorted({site[0] for site in compound.sites}))
        if elements not in known:
            known[elements] = why_not(elements, engine)
        reason = known[elements]
        if reason:
            reasons.setdefault(reason, []).append(compound.label)
        rows.append(row(compound, None if reason else model.core_hours(work), reason))
    return rows, [left_out_line(*item) for item in sorted(reasons.items())]


def _conclude(
    console: Console,
    settings: Campaign,
    found: Enumeration,
    rows: list[dict[str, Any]],
    notes: list[str],
    model: CostModel,
) -> None:
    """Print totals, what was done on purpose, and what went wrong."""

    def say(text: str) -> None:
        print_text(text, console)

    if not rows:
        say(f"no compound is left of {found.n_candidates} structures; no lock file was written")
    else:
        hours = [plain["core_hours"] for plain in rows if plain["core_hours"] is not None]
        n_slabs = sum(plain["n_slabs"] for plain in rows)
        s = "s" * (len(rows) != 1)
        say(
            f"{settings.name}: {len(rows)} compound{s} from {found.n_candidates} structures, {n_slabs} "
            f"symmetric slabs, about {hours_text(sum(hours))} core-hours"
            + (" (from the cache)" if found.from_cache else "")
        )
        if len(rows) > TABLE_ROWS:
            say(f"  the table shows {TABLE_ROWS} of them; --json or --csv list all")
        say(f"  {model.words()}")
    for line in notes:
        say(f"  {line}")
    if found.problems:
        n = len(found.problems)
        console.print(f"[red]{pluralize(n, 'problem')}[/red]; the others completed:")
        for line in found.problems[:SHOWN_PROBLEMS]:
            say(f"  {line}")
        if n > SHOWN_PROBLEMS:
            say(f"  ... and {n - SHOWN_PROBLEMS} more; the lock file lists all (left_out)")


def settle(found: Enumeration, path: Path, settings: Campaign, *, update: bool) -> list[str]:
    """Write a lock file, or say what it would change.

    A lock file is replaced when the campaign file was edited since, or on request; what only changed in the
    databases, or could not be had this time, never replaces it by itself. An edit of slab settings replaces
    the counts, so it does not count where other crystals would come along with them.

    Parameters
    ----------
    found
        The list as it is now.
    path
        Where it is, or will be.
    settings
        Of the campaign, for messages.
    update
        Replace it in any case.

    Returns
    -------
    list of str
        What was done, for people.

    Raises
    ------
    InputError
        If the lock file there is cannot be read, and is not to be replaced.
    """
    where = f"lock file {path}"
    if not path.exists():
        write_lock(found.text, path)
        return [f"{where} written; mgsurf run {settings.path} computes it"]
    if _is_same(path, found.text):
        return [f"{where} is up to date"]
    command = f"mgsurf enumerate {settings.path}"
    try:
        old = read_lock(path, command)
    except InputError:
        if not update:
            raise
        write_lock(found.text, path)
        return [f"{where} could not be read and was replaced"]
    lock = found.lock
    difference = changes(old, lock)
    edited, recounted = not is_made_from(old, settings), old.slab_settings != lock.slab_settings
    asked_for = edited or (recounted and not difference.of_crystals)
    lines = [f"  {line}" for line in difference.lines()]
    if update or (asked_for and found.whole):
        write_lock(found.text, path)
        return [f"{where} replaced" + (":" if lines else "; its compounds stay the same"), *lines]
    if not difference and not edited and not recounted:
        return [f"{where} lists the same compounds and was kept"]
    why = "what databases say has changed"
    if not found.whole:
        why = "not every source answered in full"
    elif old.lock_version < lock.lock_version and not difference.of_crystals:
        why = "it was written by an older mgsurf"
    return [
        f"{where} was kept, for {why}" + (":" if lines else ""),
        *lines,
        f"  {command} --update replaces it",
    ]


def _is_same(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, ValueError):
        return False
