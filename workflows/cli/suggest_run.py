"""Running or submitting the slabs that `mgsurf suggest` chose."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.connections import open_store
from stores.errors import InputError, pluralize
from stores.files import write_file
from stores.input_files import read_json
from stores.learning.candidates import computed_slabs, slab_key
from stores.records import content_hash
from workflows.cli.console import page, print_text
from workflows.cli.run import CampaignRun, campaign_flow
from workflows.flows.chosen_slabs import ChosenSlabsMaker
from workflows.jobs.calculate import make_directory
from workflows.structures.crystal import bulk_key
from workflows.structures.naming import format_miller

if TYPE_CHECKING:
    from workflows.flows.campaign.file import CampaignStructure
    from workflows.flows.chosen_slabs import ChosenSlabs
    from workflows.flows.surface import SurfaceMaker


class CampaignBatch(CampaignRun):
    """A batch of slabs of a campaign: computed here, or submitted to a queue."""

    def resume(self, quiet: bool) -> int | None:
        """Run the rest of an interrupted batch and return the exit status; None without such a batch."""
        if not self._file.is_file():
            return None
        try:
            candidates = [
                {"bulk_key": key, "miller_index": plane, "termination_key": termination}
                for key, slabs in read_json(self._file).items()
                for plane, termination in slabs
            ]
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise InputError(
                f"{self._file}: the interrupted batch cannot be read ({error}); --fresh chooses a new one"
            ) from error
        with open_store(self.maker.context.store) as store:
            computed = computed_slabs(store, self.maker.context.make_engine().method())
        left = [one for one in candidates if slab_key(one) not in computed]
        if not left:
            return None
        print_text(
            f"resuming an interrupted batch: {len(left)} of its slabs are left (--fresh chooses a new one)",
            page(stderr=True),
        )
        return self.run(left, quiet)

    def run(self, candidates: list[dict[str, Any]], quiet: bool) -> int:
        """Compute candidates on this machine, as `mgsurf run` computes all of a campaign.

        The batch is kept in a file until it is done, for after an interruption the model might choose
        another. Returns the exit status: 1 if a calculation failed or did not converge.
        """
        if not candidates:
            return 0
        chosen = chosen_slabs(candidates)
        entries = list(self._entries(chosen).values())
        self.check_programs(entries)
        make_directory(self._file.parent)
        write_file(self._file, json.dumps(chosen, indent=1) + "\n")
        maker = chosen_maker(self.maker, chosen)
        tally = self.execute(lambda: campaign_flow(self.settings, maker, entries), quiet)
        self._file.unlink(missing_ok=True)  # done, whether or not anybody reads the table
        return self.conclude(tally)

    def submit(self, candidates: list[dict[str, Any]], project: str | None, worker: str | None) -> int:
        """Hand candidates to a queue, without those submitted before; return the exit status."""
        from workflows.cli.queue import plan_of
        from workflows.execution.remote.project import open_project
        from workflows.execution.remote.submit import (
            alone_submitting,
            context_on_worker,
            submission_keys,
            submit,
            submitted_before,
        )

        if not candidates:
            return 0
        settings, chosen = self.settings, chosen_slabs(candidates)
        with open_project(project) as remote, alone_submitting(remote.controller.db) as lease:
            at = remote.worker(worker)
            plan = plan_of(settings, remote, at)
            known = submitted_before(remote, settings.name)
            entries = self._entries(chosen)
            labels: dict[str, str] = {}
            new: ChosenSlabs = {}
            for key, entry in entries.items():
                keys = submission_keys(self.maker, entry.structure, None)
                for plane, termination in chosen[key]:
                    slab = {"plane": list(plane), "termination": termination}
                    names = [content_hash({"of": of, **slab}) for of in keys]
                    if not any(name in known for name in names):
                        labels[names[0]] = f"{entry.label} {format_miller(plane)} {termination}"
                        new.setdefault(key, []).append((plane, termination))
            if n_before := len(candidates) - len(labels):
                print_text(f"  {n_before} of the slabs were submitted before and are left out")
            if not new:
                print_text(f"all of them are in project {remote.name} already; nothing was submitted")
                return 0
            there = context_on_worker(chosen_maker(self.maker, new), remote.config.workers[at].work_dir, plan)
            flow = campaign_flow(settings, there, [entries[key] for key in new])
            lease.check()  # building the flow may have taken long
            numbers = submit(remote, at, flow, settings.name, labels)
            print_text(
                f"submitted {pluralize(len(labels), 'slab')} of {pluralize(len(new), 'compound')} "
                f"to project {remote.name}, worker {at}: "
                f"{len(numbers)} jobs so far, those of the slabs follow when the bulks are relaxed"
            )
            print_text(
                f"  mgsurf pull {settings.path} --project {remote.name}   finished records into the store"
            )
        return 0

    @property
    def _file(self) -> Path:
        return Path(self.maker.context.work_dir) / f"{self.settings.name}.suggested.json"

    def _entries(self, chosen: ChosenSlabs) -> dict[str, CampaignStructure]:
        """Return the crystals that chosen slabs belong to by their bulk keys."""
        found: dict[str, CampaignStructure] = {}
        for entry in self.structures:
            if len(found) == len(chosen):
                break
            key = bulk_key(entry.structure)
            if key in chosen:
                found.setdefault(key, entry)
        if missing := set(chosen) - set(found):
            raise InputError(
                f"{len(missing)} compounds of the batch are no longer in the campaign; "
                "--fresh chooses a new batch"
            )
        return found


def chosen_slabs(candidates: list[dict[str, Any]]) -> ChosenSlabs:
    """Group candidates by bulk."""
    chosen: ChosenSlabs = {}
    for candidate in candidates:
        h, k, l = candidate["miller_index"]
        chosen.setdefault(candidate["bulk_key"], []).append(((h, k, l), candidate["termination_key"]))
    return chosen


def chosen_maker(maker: SurfaceMaker, chosen: ChosenSlabs) -> ChosenSlabsMaker:
    """Return the maker of a campaign for chosen slabs alone."""
    values = {field.name: getattr(maker, field.name) for field in fields(maker)}
    return ChosenSlabsMaker(**values, chosen=chosen)
