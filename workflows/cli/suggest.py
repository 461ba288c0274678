"""`mgsurf suggest`: the slabs that are worth computing next, by what the model expects of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stores.connections import open_store, parse_uri, resolve_store_uri
from stores.errors import InputError
from workflows.cli.console import check_one_format
from workflows.cli.suggest_answer import answered
from workflows.engines.gpaw.process import logical_cores

if TYPE_CHECKING:
    from workflows.flows.campaign.file import CampaignStructure
    from workflows.flows.campaign.settings import Campaign
    from workflows.flows.surface import SurfaceMaker


def suggest(
    campaign: Path | None,
    *,
    n: int,
    strategy: str,
    maximise: list[str],
    minimise: list[str],
    per_cost: bool,
    budget: float | None,
    seed: int,
    any_part: bool,
    model: str | None,
    store_uri: str | None,
    workers: int | None,
    quiet: bool,
    as_json: bool,
    as_csv: bool,
    run: bool,
    submit: bool,
    fresh: bool,
    project: str | None,
    worker: str | None,
) -> int:
    """Print a batch, and run or submit it where that is asked for.

    Returns
    -------
    int
        Exit status: 1 if the run had problems.
    """
    from workflows.cli.suggest_print import print_answer
    from workflows.flows.learning.suggestion import AcquisitionSettings

    acquisition = AcquisitionSettings(
        n, strategy, tuple(maximise), tuple(minimise), per_cost, budget, seed, any_part
    )
    _check(campaign, as_json, as_csv, run, submit, project or worker)
    settings, structures, maker = _campaign(campaign, store_uri)
    uri = maker.context.store if maker else resolve_store_uri(store_uri, None)
    if run and settings is not None and maker is not None and not fresh:
        from workflows.cli.suggest_run import go_on

        status = go_on(settings, structures, maker, quiet)
        if status is not None:
            return status
    if maker is not None and parse_uri(uri).kind == "sqlite":
        from workflows.jobs.calculate import make_directory

        make_directory(Path(parse_uri(uri).target).parent)
    with open_store(uri, must_exist=maker is None) as store:
        answer = answered(
            store, uri, maker, structures, acquisition, model, workers or logical_cores(), quiet
        )
    print_answer(answer, as_json=as_json, as_csv=as_csv)
    if settings is None or maker is None or not (run or submit):
        return 0
    from workflows.cli import suggest_run

    chosen = suggest_run.chosen_slabs([one.candidate for one in answer.suggestion.chosen])
    if run:
        return suggest_run.run_chosen(settings, structures, maker, chosen, quiet)
    return suggest_run.submit_chosen(settings, structures, maker, chosen, project, worker)


def _check(
    campaign: Path | None,
    as_json: bool,
    as_csv: bool,
    run: bool,
    submit: bool,
    of_queue: str | None,
) -> None:
    """Tell slips before anything is read."""
    check_one_format(as_json, as_csv)
    if (as_json or as_csv) and (run or submit):
        raise InputError("--json and --csv only print; leave them out with --run and --submit")
    if run and submit:
        raise InputError("--run and --submit exclude each other; choose one")
    if (run or submit) and campaign is None:
        raise InputError("--run and --submit need the campaign whose engine computes; name its file")
    if of_queue and not submit:
        raise InputError("--project and --worker say where to --submit; add it or leave them out")


def _campaign(
    path: Path | None, store_uri: str | None
) -> tuple[Campaign | None, list[CampaignStructure], SurfaceMaker | None]:
    if path is None:
        return None, [], None
    from stores.settings_file import resolve_work_dir
    from workflows.cli.run import surface_maker
    from workflows.flows.campaign.file import campaign_structures, load_campaign

    settings = load_campaign(path)
    structures = campaign_structures(settings)
    uri = resolve_store_uri(store_uri, settings.store)
    return settings, structures, surface_maker(settings, uri, resolve_work_dir(campaign=settings.work_dir))
