"""Run or submit the slabs that `mgsurf suggest` chose."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.console import Console

from stores.connections import open_job_store, open_store
from stores.errors import InputError, counted
from stores.files import write_file
from stores.input_files import read_json
from stores.learning.candidates import computed_slabs, slab_key
from stores.records import content_hash
from workflows.cli.run import campaign_flow, conclude
from workflows.execution.kept import kept_of_run
from workflows.execution.listener import RunListener
from workflows.execution.local import run_local
from workflows.flows.chosen_slabs import ChosenSlabsMaker
from workflows.jobs.calculate import make_directory
from workflows.jobs.pre_relaxation import check_installed
from workflows.structures.crystal import bulk_key
from workflows.structures.naming import format_miller

if TYPE_CHECKING:
    from workflows.flows.campaign.file import CampaignStructure
    from workflows.flows.campaign.settings import Campaign
    from workflows.flows.chosen_slabs import ChosenSlabs
    from workflows.flows.surface import SurfaceMaker


def chosen_slabs(candidates: list[dict[str, Any]]) -> ChosenSlabs:
    """Group candidates by bulk."""
    chosen: ChosenSlabs = {}
    for candidate in candidates:
        h, k, l = candidate["miller_index"]
        chosen.setdefault(candidate["bulk_key"], []).append(((h, k, l), candidate["termination_key"]))
    return chosen


def go_on(
    settings: Campaign, structures: list[CampaignStructure], maker: SurfaceMaker, quiet: bool
) -> int | None:
    """Run the rest of a batch that was interrupted; None if there is none."""
    chosen = _unfinished(settings, maker)
    if not chosen:
        return None
    left = sum(map(len, chosen.values()))
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"going on with a batch chosen before: {left} of its slabs are left (--fresh chooses a new one)"
    )
    return run_chosen(settings, structures, maker, chosen, quiet)


def run_chosen(
    settings: Campaign,
    structures: list[CampaignStructure],
    maker: SurfaceMaker,
    chosen: ChosenSlabs,
    quiet: bool,
) -> int:
    """Compute chosen slabs on this machine, as `mgsurf run` computes all of a campaign.

    The batch is kept in a file until it is done, for after an interruption the model might choose another.

    Returns
    -------
    int
        Exit status: 0 if every calculation ended well, 1 if one failed or did not converge.
    """
    if not chosen:
        return 0
    start = monotonic()
    console = Console(highlight=False)
    entries = list(_entries(structures, chosen).values())
    engine = maker.context.make_engine()
    if hasattr(engine, "check_machine"):
        engine.check_machine(sorted({s.specie.symbol for entry in entries for s in entry.structure}))
    check_installed(maker.pre_relaxation)
    work_dir = Path(maker.context.work_dir)
    make_directory(work_dir)
    batch = _batch_file(settings, maker)
    write_file(batch, json.dumps(chosen, indent=1) + "\n")
    uri = maker.context.store
    job_store = open_job_store(uri)
    with RunListener(console, work_dir, quiet) as listener:
        flow = campaign_flow(settings, chosen_maker(maker, chosen), entries)
        kept = kept_of_run(listener.tally, work_dir, engine)
        run_local(flow, job_store, work_dir, listener.tally, kept)
    batch.unlink(missing_ok=True)
    return conclude(console, settings, uri, work_dir, listener.tally, monotonic() - start)


def submit_chosen(
    settings: Campaign,
    structures: list[CampaignStructure],
    maker: SurfaceMaker,
    chosen: ChosenSlabs,
    project: str | None,
    worker: str | None,
) -> int:
    """Hand chosen slabs to a queue; what was submitted before is not submitted again.

    Returns
    -------
    int
        Exit status.
    """
    from workflows.cli.queue import plan_of
    from workflows.execution.remote.project import open_project
    from workflows.execution.remote.submit import (
        alone_submitting,
        context_on_worker,
        submission_keys,
        submit,
        submitted_before,
    )

    if not chosen:
        return 0
    console = Console(highlight=False, soft_wrap=True)
    with open_project(project) as remote, alone_submitting(remote.controller.db) as lease:
        at = remote.worker(worker)
        plan = plan_of(settings, remote, at)
        known = submitted_before(remote, settings.name)
        entries = _entries(structures, chosen)
        labels: dict[str, str] = {}
        new: ChosenSlabs = {}
        for key, entry in entries.items():
            keys = submission_keys(maker, entry.structure, None)
            for plane, termination in chosen[key]:
                slab = {"plane": list(plane), "termination": termination}
                names = [content_hash({"of": of, **slab}) for of in keys]
                if not any(name in known for name in names):
                    labels[names[0]] = f"{entry.label} {format_miller(plane)} {termination}"
                    new.setdefault(key, []).append((plane, termination))
        if n_before := sum(map(len, chosen.values())) - len(labels):
            console.print(f"  {n_before} of the slabs were submitted before and are left out")
        if not new:
            console.print(f"all of them are in project {remote.name} already; nothing was submitted")
            return 0
        there = context_on_worker(chosen_maker(maker, new), remote.config.workers[at].work_dir, plan)
        flow = campaign_flow(settings, there, [entries[key] for key in new])
        lease.check()  # building the flow may have taken long
        numbers = submit(remote, at, flow, settings.name, labels)
        console.print(
            f"submitted {counted(len(labels), 'slab')} of {counted(len(new), 'compound')} "
            f"to project {remote.name}, worker {at}: "
            f"{len(numbers)} jobs so far, those of the slabs follow when the bulks are relaxed"
        )
        console.print(
            f"  mgsurf pull {settings.path} --project {remote.name}   finished records into the store"
        )
    return 0


def chosen_maker(maker: SurfaceMaker, chosen: ChosenSlabs) -> ChosenSlabsMaker:
    """Return the maker of a campaign for chosen slabs alone."""
    values = {field.name: getattr(maker, field.name) for field in fields(maker)}
    return ChosenSlabsMaker(**values, chosen=chosen)


def _entries(structures: list[CampaignStructure], chosen: ChosenSlabs) -> dict[str, CampaignStructure]:
    """Return the crystals that chosen slabs belong to by their bulk keys."""
    found: dict[str, CampaignStructure] = {}
    for entry in structures:
        if len(found) == len(chosen):
            break
        key = bulk_key(entry.structure)
        if key in chosen:
            found.setdefault(key, entry)
    if missing := set(chosen) - set(found):
        raise InputError(
            f"{len(missing)} compounds of the batch are not in the campaign any more; --fresh chooses anew"
        )
    return found


def _batch_file(settings: Campaign, maker: SurfaceMaker) -> Path:
    return Path(maker.context.work_dir) / f"{settings.name}.suggested.json"


def _unfinished(settings: Campaign, maker: SurfaceMaker) -> ChosenSlabs:
    """Return what is left of a batch that was interrupted."""
    path = _batch_file(settings, maker)
    if not path.is_file():
        return {}
    try:
        batch = read_json(path)
        candidates = [
            {"bulk_key": key, "miller_index": plane, "termination_key": termination}
            for key, slabs in batch.items()
            for plane, termination in slabs
        ]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path}: the interrupted batch cannot be read ({error}); --fresh chooses a new one"
        ) from error
    with open_store(maker.context.store) as store:
        computed = computed_slabs(store, maker.context.make_engine().method())
    return chosen_slabs([one for one in candidates if slab_key(one) not in computed])
