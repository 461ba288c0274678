"""`mgsurf suggest`: the slabs that are worth computing next, by what the model expects of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stores.errors import InputError, pluralize
from workflows.cli.access import MODEL_FOLDER, chosen_ensemble, existing_store, results_store
from workflows.cli.completion import models_and_folders
from workflows.cli.console import print_csv, print_note, print_table, print_text
from workflows.cli.learning import require_network
from workflows.cli.options import ProjectOption, QuietOption, StoreOption, TableFormat, WorkerOption
from workflows.cli.typer_app import LOOP, app
from workflows.execution.progress_bar import ProgressBar
from workflows.report.table import Column, Table, with_sigma

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stores.records import Method
    from stores.surfaces import SurfaceStore
    from workflows.cli.run import CampaignRun
    from workflows.flows.learning.suggestion import AcquisitionSettings, ModelMetadata, Suggested, Suggestion

    Document = dict[str, Any]
    Show = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Acquisition:
    """How `mgsurf suggest` and `mgsurf rounds` choose slabs."""

    strategy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="random, uncertain, diverse (uncertain and far from all known) or improvement (of the best "
            "known).",
        ),
    ] = "diverse"
    maximise: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET",
            help="Of improvement (may be repeated); work_function unless either is given.",
        ),
    ] = None
    minimise: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET",
            help="Of improvement (may be repeated); surface_energy unless either is given.",
        ),
    ] = None
    per_cost: Annotated[bool, typer.Option("--per-cost", help="Rank by score per core-hour.")] = False

    def settings(self) -> dict[str, Any]:
        """Return them as arguments of `AcquisitionSettings` or `ActiveLearningMaker`."""
        return {
            "strategy": self.strategy,
            "maximise": tuple(self.maximise or ()),
            "minimise": tuple(self.minimise or ()),
            "per_cost": self.per_cost,
        }


@dataclass(frozen=True)
class Computation:
    """Where the chosen slabs are computed, if at all."""

    run: Annotated[bool, typer.Option("--run", help="Compute them here; resumes if interrupted.")] = False
    submit: Annotated[bool, typer.Option("--submit", help="Hand them to a queue.")] = False
    fresh: Annotated[
        bool, typer.Option("--fresh", help="With --run: leave an interrupted batch and choose a new one.")
    ] = False
    project: ProjectOption = None
    worker: WorkerOption = None

    def __post_init__(self) -> None:
        if self.run and self.submit:
            raise InputError("--run and --submit exclude each other; choose one")
        if (self.project or self.worker) and not self.submit:
            raise InputError("--project and --worker go with --submit; add it or leave them out")


@app.command(rich_help_panel=LOOP)
def suggest(
    *,
    campaign: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CAMPAIGN.yaml]",
            help="Campaign file; its slabs are the candidates. Else those of the store.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--number", min=1, metavar="N", help="How many slabs.")] = 20,
    acquisition: Acquisition,
    budget: Annotated[
        float | None, typer.Option(metavar="CORE_HOURS", help="Largest cost of all together.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            autocompletion=models_and_folders,
            help="Folder, champion, latest or v3; else MGSURF_MODEL, the champion, ./mgsurf_model.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of random.")] = 0,
    any_part: Annotated[
        bool,
        typer.Option("--any-part", help="Of uncertain and diverse: compounds that never train, too."),
    ] = False,
    computation: Computation,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes that build graphs; all cores by default."),
    ] = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    shown: TableFormat,
) -> int:
    """Choose the slabs that are worth computing next, by what the model expects of them; compute them.

    Exit status 1 if a calculation failed or did not converge.

    Examples: [cyan]mgsurf suggest campaign.yaml -n 20 --strategy improvement[/cyan],
    [cyan]mgsurf suggest campaign.yaml --per-cost --budget 200 --submit --project cluster[/cyan]
    """
    from stores.connections import resolve_store_uri
    from workflows.engines.gpaw.process import logical_cores
    from workflows.flows.learning.suggestion import AcquisitionSettings

    wanted = AcquisitionSettings(n, budget=budget, seed=seed, any_part=any_part, **acquisition.settings())
    computed = computation.run or computation.submit
    if computed and (shown.as_json or shown.as_csv):
        raise InputError("--json and --csv only print; leave them out with --run and --submit")
    if computed and campaign is None:
        raise InputError("--run and --submit need the campaign whose engine computes; name its file")
    batch = None
    if campaign is None:
        uri = resolve_store_uri(store)
        results = existing_store(store)
    else:
        from workflows.cli.suggest_run import CampaignBatch

        batch = CampaignBatch.of(campaign, store)
        if computation.run and not computation.fresh:
            status = batch.resume(quiet)
            if status is not None:
                return status
        uri = batch.maker.context.store
        results = results_store(uri)
    with results as opened:
        answer = choose(opened, uri, batch, wanted, model, workers or logical_cores(), quiet)
    print_answer(answer, shown)
    candidates = [one.candidate for one in answer.suggestion.chosen]
    if batch is not None and computation.run:
        return batch.run(candidates, quiet)
    if batch is not None and computation.submit:
        return batch.submit(candidates, computation.project, computation.worker)
    return 0


@dataclass(frozen=True)
class Candidates:
    """Candidates to choose from, the method they would be computed with, and notes for the user."""

    documents: list[Document]
    method: Method
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """A batch, with what is printed beside it.

    `targets` are the model's, in its order; `model` is its version, empty without a model; `cost` is a line
    about the core-hours; `notes` go to stderr.
    """

    suggestion: Suggestion
    acquisition: AcquisitionSettings
    targets: list[str]
    model: str
    cost: str
    notes: list[str]


def choose(
    store: SurfaceStore,
    uri: str,
    campaign: CampaignRun | None,
    acquisition: AcquisitionSettings,
    model: str | None,
    workers: int,
    quiet: bool,
) -> Answer:
    """Find the candidates, predict those that the model has not predicted yet, and choose.

    Raises
    ------
    InputError
        If there are no candidates, no model, or the strategy lacks what it needs.
    """
    from stores.method_names import names_of_family
    from workflows.flows.enumeration.cost import calibrated
    from workflows.flows.learning.suggestion import ModelMetadata, suggest_slabs

    with ProgressBar(quiet) as bar:
        found = _of_campaign(store, campaign, bar.show) if campaign else _of_store(store)
        if not found.documents:
            reason = "everything is computed; add compounds to a campaign and name it"
            if found.notes:
                reason = f"{'; '.join(found.notes)}; add compounds or facets to the campaign"
            raise InputError(f"no candidates left: {reason}")
        version, targets, metadata = "", list[str](), ModelMetadata()
        name = _model_name(model, store)
        if name is not None:
            version, targets, metadata = _predict(store, uri, found, acquisition, name, workers, bar.show)
        elif acquisition.strategy != "random":
            raise InputError(
                f"no model found: the store {store.uri} has no champion and ./{MODEL_FOLDER} does not exist; "
                "train one with mgsurf train, name one with --model, or choose --strategy random"
            )
    cost = calibrated(found.method, store)
    suggestion = suggest_slabs(store, found.documents, targets, acquisition, cost, metadata)
    notes = list(found.notes)
    own = names_of_family(store, found.method, "surfaces")
    if others := sorted(set(metadata.methods.values()) - own):
        method = found.method.fingerprint
        notes.append(f"the model learned from {', '.join(others)}; the campaign computes with {method}")
    notes += _remarks(suggestion, acquisition)
    return Answer(suggestion, acquisition, targets, version, cost.words(), notes)


def _of_campaign(store: SurfaceStore, campaign: CampaignRun, show: Show) -> Candidates:
    """Return the candidates among the slabs of a campaign."""
    from stores.learning.candidates import candidates_by_id
    from workflows.flows.learning.candidates import update_candidates_of

    maker = campaign.maker
    found = update_candidates_of(
        store, maker, campaign.structures, progress=lambda i, n: show("cutting slabs", i, n)
    )
    notes = [f"left out: {line}" for line in found.left_out]
    if found.n_computed:
        failed = f", of which {found.n_failed} gave nothing (mgsurf run tries them again)"
        notes.append(
            f"{found.n_computed} slabs of the campaign were computed before{failed if found.n_failed else ''}"
        )
    return Candidates(list(candidates_by_id(store, found.ids)), maker.context.make_engine().method(), notes)


def _of_store(store: SurfaceStore) -> Candidates:
    """Return all candidates of a store that are not computed."""
    from stores.learning.candidates import candidate_documents, computed_slabs, method_of_candidates, slab_key

    method = method_of_candidates(store)
    computed = computed_slabs(store, method)
    return Candidates([d for d in candidate_documents(store) if slab_key(d) not in computed], method)


def _model_name(model: str | None, store: SurfaceStore) -> str | None:
    """Return the model of ``--model``, else MGSURF_MODEL, the champion, ./mgsurf_model; None without any."""
    from stores.learning.registry import ModelRegistry

    if named := model or os.environ.get("MGSURF_MODEL"):
        return named
    if ModelRegistry(store).champion_version() is not None:
        return "champion"
    return str(MODEL_FOLDER) if MODEL_FOLDER.exists() else None


def _predict(
    store: SurfaceStore,
    uri: str,
    found: Candidates,
    acquisition: AcquisitionSettings,
    name: str,
    workers: int,
    show: Show,
) -> tuple[str, list[str], ModelMetadata]:
    """Bring the predictions of all candidates up to date, without torch where they are."""
    from stores.learning.model_card import is_version
    from workflows.flows.learning.suggestion import metadata_of, version_of

    version = version_of(name, store) if is_version(name) or Path(name).is_dir() else ""
    old = [d["id"] for d in found.documents if d["model"] != version]
    ensemble = None
    if old or acquisition.strategy == "diverse" or not version:
        require_network()
        ensemble, loaded = chosen_ensemble(name, uri)
        version = version_of(loaded, store)
        old = [d["id"] for d in found.documents if d["model"] != version]
    if old and ensemble is not None:
        from model.evaluation.stored_candidates import predict_candidates
        from stores.learning.candidates import candidates_by_id

        progress = lambda i, n: show("predicting", i, n)  # noqa: E731 -- names the stage of the bar
        predict_candidates(store, ensemble, version, old, workers=workers, progress=progress)
        found.documents[:] = candidates_by_id(store, [d["id"] for d in found.documents])
    predicted: dict[str, Any] = next((d["predictions"] for d in found.documents if d["predictions"]), {})
    targets = list(ensemble.quantities) if ensemble else list(predicted)
    metadata = metadata_of(name, store, targets, found.method.fingerprint)
    if ensemble is not None:
        metadata = replace(metadata, places=ensemble.training_map.places)
    return version, targets, metadata


def _remarks(suggestion: Suggestion, acquisition: AcquisitionSettings) -> list[str]:
    """Return notes about what was left out of a batch and what to mistrust in it."""
    from model.selection.acquisition import LEAST_CHANCE

    lines = []
    if suggestion.n_unpredicted and acquisition.strategy != "random":
        lines.append(f"{suggestion.n_unpredicted} candidates are left out: the model cannot take them")
    if suggestion.n_never_train:
        lines.append(
            f"{suggestion.n_never_train} candidates are left out: their compounds validate or are held out, "
            "and computing them would not teach the model; --any-part takes them, too"
        )
    chosen = [one.candidate for one in suggestion.chosen]
    unseen = " not in the training set"
    strange = [w for d in chosen for w in d["warnings"] if w.endswith(unseen)]
    if strange:
        elements = ", ".join(sorted({e for w in strange for e in w.removesuffix(unseen).split(", ")}))
        lines.append(f"{len(strange)} of {len(chosen)} hold elements that the model never saw: {elements}")
    if estimated := sum(d["lattice_is_guess"] for d in chosen):
        lines.append(f"{estimated} of {len(chosen)} are cut from an estimated lattice")
    if acquisition.budget is not None and suggestion.n_pool and not chosen and not suggestion.n_hopeless:
        lines.append(
            f"no candidate fits into {acquisition.budget:g} core-hours; the cheapest takes "
            f"{suggestion.cheapest:.2g}"
        )
    elif len(chosen) < acquisition.n:
        if suggestion.n_hopeless:
            why = (
                f"the chance of the remaining {suggestion.n_hopeless} to beat the best known values is below "
                f"{100 * LEAST_CHANCE:.1g} %; --strategy uncertain or diverse takes them, too"
            )
        elif acquisition.budget is not None and suggestion.n_pool:
            why = "the budget buys no more"
        else:
            why = "there are no more candidates"
        lines.append(f"{len(chosen)} instead of {acquisition.n} slabs: {why}")
    return lines


def print_answer(answer: Answer, shown: TableFormat) -> None:
    """Print the batch on stdout and the notes on stderr."""
    chosen = answer.suggestion.chosen
    if shown.as_json:
        print(json.dumps(_plain(answer), indent=2))
    elif shown.as_csv:
        _print_csv(answer)
    elif chosen:
        print_table(batch_table(chosen, answer.targets))
        by = f", model {answer.model}" if answer.model else ""
        print_text(
            f"{len(chosen)} of {pluralize(answer.suggestion.n_pool, 'candidate')}, "
            f"{_hours(sum(one.core_hours for one in chosen))} core-hours; "
            f"strategy {answer.acquisition.strategy}"
            f"{' per cost' if answer.acquisition.per_cost else ''}{by}"
        )
        print_text(answer.cost)
    for note in answer.notes:
        print_note(note)


def _plain(answer: Answer) -> dict[str, Any]:
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
        **{name: document["predictions"].get(name) for name in targets},
        "distance": document["distance"],
        "lattice_is_guess": document["lattice_is_guess"],
        "core_hours": _rounded(one.core_hours),
        "score": _rounded(one.score),
        "reason": one.reason,
        "warnings": document["warnings"],
    }


def _print_csv(answer: Answer) -> None:
    columns = {f"{name}{ending}": (name, key) for name in answer.targets
               for ending, key in (("", "value"), ("_sigma", "sigma"))}  # fmt: skip
    rows = _plain(answer)["chosen"]
    for row in rows:
        row |= {column: (row[name] or {}).get(key) for column, (name, key) in columns.items()}
        row["warnings"] = "; ".join(row["warnings"])
    words = ("rank", "id", "formula", "plane", "termination", "n_atoms")
    more = ("distance", "lattice_is_guess", "core_hours", "score", "reason", "warnings")
    print_csv(rows, [*words, *columns, *more])


def batch_table(chosen: Sequence[Suggested], targets: Sequence[str]) -> Table:
    """Table of chosen slabs with their predictions, costs and the reason of each choice."""
    from rich.text import Text

    from workflows.report.style import SYMBOLS
    from workflows.report.training_figures import unit_of

    columns = [
        Column("rank", right=True),
        Column("compound"),
        Column("facet"),
        Column("termination", short="term."),
        Column("atoms", right=True),
    ]
    for target in targets:
        name, _, method = target.partition("@")
        symbol = SYMBOLS.get(name, name.replace("_", " ")) + (f" {method.split('-')[0]}" if method else "")
        columns.append(Column(f"{symbol}\n{unit_of(name)}", right=True))
    table = Table([*columns, Column("cost\ncore-h", right=True), Column("reason", wrap=True, room=12)])
    for number, one in enumerate(chosen, start=1):
        document = one.candidate
        # a note below the table counts estimated lattices; the second name is that of older candidates
        warnings = [w for w in document["warnings"] if w not in ("estimated lattice", "lattice is a guess")]
        table.add_row(
            str(number),
            document["formula"],
            _plane(document),
            document["termination_label"],
            str(document["n_atoms"]),
            *(_prediction(document["predictions"].get(target)) for target in targets),
            _hours(one.core_hours),
            Text.assemble(one.reason, (f"\n{'; '.join(warnings)}" if warnings else "", "yellow")),
        )
    return table


def _plane(document: Document) -> str:
    from workflows.structures.naming import format_plane

    return format_plane(document["miller_index"], document["spacegroup_number"])


def _prediction(predicted: dict[str, float | None] | None) -> str:
    if predicted is None or predicted["value"] is None:
        return "-"
    return with_sigma(predicted["value"], predicted["sigma"])


def _hours(value: float) -> str:
    """Write core-hours, which are known to two digits at best."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
