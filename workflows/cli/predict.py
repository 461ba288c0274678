"""`mgsurf predict`: properties of slabs, crystals or compositions from a trained model."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stores.errors import InputError, pluralize
from stores.method_names import is_dft
from stores.paths import kind_of_path, names_store
from workflows.cli.access import chosen_ensemble, existing_store
from workflows.cli.completion import models_and_folders
from workflows.cli.console import print_csv, print_note, print_table, print_text
from workflows.cli.learning import require_network
from workflows.cli.options import CompositionChoice, CrystalChoice, QuietOption, TableFormat
from workflows.cli.predict_shards import Readers, ShardedOutput, predict_shard, where_slabs_are
from workflows.cli.typer_app import LEARN, app
from workflows.execution.progress_bar import ProgressBar
from workflows.flows.learning.prediction_rows import flat_prediction, plain_prediction, prediction_columns
from workflows.report.table import Column, Table, with_sigma

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pymatgen.core import Structure

    from model.evaluation.prediction import Candidate, SlabPrediction
    from model.training.ensemble import Ensemble

_SHOWN_PROBLEMS = 20
_SHOWN_ROWS = 200


@app.command(rich_help_panel=LEARN)
def predict(
    *,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SLABS]...",
            help="Files of slabs (of crystals, if trained on them), folders, a store; if trained on "
            "compositions, formulas or a CSV file.",
        ),
    ] = None,
    bulk: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A crystal; all its symmetric slabs are cut first.")
    ] = None,
    crystal: CrystalChoice,
    max_index: Annotated[int, typer.Option(min=1, max=5, help="Largest Miller index of the cut.")] = 1,
    min_thickness: Annotated[
        float, typer.Option(metavar="A", help="Least thickness of slabs that are cut (A).")
    ] = 10.0,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            autocompletion=models_and_folders,
            help="As mgsurf train wrote it; or champion, v3, ... of --store. "
            "Else MGSURF_MODEL, else ./mgsurf_model.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Of the model's registry; and whose records of the crystal that is cut correct its "
            "predictions.",
        ),
    ] = None,
    compositions: CompositionChoice,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Cores for many slabs; all by default.")
    ] = None,
    quiet: QuietOption = False,
    shown: TableFormat,
    target: ShardedOutput,
) -> int:
    """Predict surface energies and work functions of slabs, with their uncertainty and warnings.

    Or what else the model was trained on, of crystals or compositions. Exit status 1 if some of several
    could not be predicted. With --output any number of slabs, as Parquet files.

    Examples: [cyan]mgsurf predict slabs/ --csv[/cyan],
    [cyan]mgsurf predict --bulk MgZn2.cif --max-index 1[/cyan],
    [cyan]mgsurf predict Mg65Cu25Y10 alloys.csv --model glass/[/cyan],
    [cyan]mgsurf predict slabs/ --shard 3/16 --output predictions/[/cyan]
    """
    cut = bulk is not None or crystal.formula is not None or crystal.prototype is not None
    if cut == bool(inputs):
        raise InputError(
            "choose what to predict: slab files, a folder or a store; or a crystal to cut by --bulk FILE or "
            "--formula MgAg --prototype B2" + (" (not both)" if cut else "")
        )
    if any(not text.strip() for text in inputs or ()):
        raise InputError("a name of what to predict is empty; leave it out, or check the variable behind it")
    require_network()
    from model.data.dataset import noun_of
    from model.evaluation.prediction import check_predicts_slabs, predict_compositions, predict_slabs
    from workflows.cli.predict_compositions import compositions_of
    from workflows.engines.gpaw.process import logical_cores

    ensemble, loaded = chosen_ensemble(model, store)
    problems: list[tuple[str, str]] = []
    noun = noun_of(ensemble.kinds)
    of_compositions = noun == "composition"
    if not of_compositions:
        compositions.check_unused(f"the model predicts {noun}s")
    if target.output is not None:
        if cut or of_compositions or shown.as_csv:
            raise InputError("--output FOLDER takes slab files, folders and stores, without --csv")
        return predict_shard(
            inputs or (), target, ensemble, loaded, workers or logical_cores(),
            Readers(_of_file, _of_store), quiet, shown.as_json,
        )  # fmt: skip
    if cut:
        check_predicts_slabs(ensemble)
        structure, estimated = crystal.structure(bulk), crystal.prototype is not None
        candidates = _cut(structure, bulk, estimated, max_index, min_thickness, problems)
    elif of_compositions:
        candidates = compositions_of(inputs or (), compositions.columns(), ensemble, problems)
    else:
        candidates = _slabs_of(inputs or (), ensemble, problems)
    with ProgressBar(quiet) as bar:
        show = partial(bar.show, f"{noun}s predicted")
        if of_compositions:
            found = predict_compositions(ensemble, candidates, progress=show)
        else:
            found, refused = predict_slabs(
                ensemble, candidates, workers=workers or logical_cores(), progress=show
            )
            problems += [(refusal.name, refusal.reason) for refusal in refused]
    if cut and store is not None and ensemble.knows_shared_errors:
        found = _by_records(found, structure, store)
    if not found and len(problems) == 1:
        raise InputError(_problem(*problems[0]))
    targets = ensemble.targets
    if shown.as_json:
        print(json.dumps([plain_prediction(one, targets) for one in found], indent=2))
    elif shown.as_csv:
        _print_csv(found, targets)
    elif found:
        calibrated_on = min((one.n for one in ensemble.calibration.values()), default=0)
        _print(found, targets, calibrated_on, noun, ensemble.units)
    for problem in problems[:_SHOWN_PROBLEMS]:
        print_note(_problem(*problem))
    if len(problems) > _SHOWN_PROBLEMS:
        print_note(f"and {len(problems) - _SHOWN_PROBLEMS} more could not be predicted")
    return 1 if problems else 0


def _slabs_of(
    inputs: Sequence[str], ensemble: Ensemble, problems: list[tuple[str, str]]
) -> Iterator[Candidate]:
    """Yield the slabs of files, folders and stores; what cannot be read goes into `problems`."""
    from stores.structures.reading import structure_files

    for text in inputs:
        path = Path(text)
        if names_store(text):
            yield from _of_store(text, problems)
        elif kind_of_path(path) == "folder":
            for file in structure_files(path):
                yield from _of_file(file, ensemble, problems)
        else:
            yield from _of_file(path, ensemble, problems)


def _of_file(path: Path, ensemble: Ensemble, problems: list[tuple[str, str]]) -> Iterator[Candidate]:
    from model.evaluation.prediction import Candidate, plain_structure
    from stores.structures.reading import read_all
    from workflows.structures.naming import mg_first_formula

    try:
        structures = read_all(path)
    except InputError as error:
        problems.append((str(path), str(error)))
        return
    for number, structure in enumerate(structures, start=1):
        name = str(path) if len(structures) == 1 else f"{path}#{number}"
        yield Candidate(name, plain_structure(structure, ensemble), mg_first_formula(structure.composition))


def _of_store(
    uri: str, problems: list[tuple[str, str]], ids: Sequence[str] | None = None
) -> Iterator[Candidate]:
    """Yield the slabs of a store as cut, or those of some records."""
    from model.evaluation.prediction import Candidate
    from model.graphs.bulk_graph import PlainBulk
    from model.graphs.slab_frame import PlainSlab
    from workflows.structures.naming import format_plane

    fields = ["id", "formula", "slab", "miller_index", "spacegroup_number", "termination_label"]
    fields += ["provenance", "bulk_id"]
    with existing_store(uri) as store:
        collection, structures = where_slabs_are(store)
        computed = collection == "surfaces"
        fields = fields if computed else ["id", "formula", "slab", "geometry"]
        if ids is None:
            documents = store.query(
                structures, fields, sort={"formula": 1} if computed else None, collection=collection
            )
        else:
            documents = store.query({"id": {"$in": list(ids)}}, fields, collection=collection)
        empty = True
        for document in documents:
            empty = False
            try:
                kind = PlainBulk if document.get("geometry") == "bulk" else PlainSlab
                slab = kind.from_dict(document["slab"])
            except InputError as error:
                problems.append((f"record {document['id']}", str(error)))
                continue
            if not computed:
                yield Candidate(document["id"], slab, document["formula"])
                continue
            plane = tuple(document["miller_index"])
            yield Candidate(
                document["id"],
                slab,
                document["formula"],
                format_plane(plane, document["spacegroup_number"] or 0) if any(plane) else "",
                document["termination_label"],
                # the provenance is that of the crystal before it was relaxed
                bool((document["provenance"] or {}).get("lattice_is_guess")) and not document["bulk_id"],
            )
        if empty:
            raise InputError(f"the store {uri} holds no slabs; mgsurf run or mgsurf import adds some")


def _cut(
    bulk: Structure,
    file: Path | None,
    lattice_is_guess: bool,
    max_index: int,
    min_thickness: float,
    problems: list[tuple[str, str]],
) -> Iterator[Candidate]:
    """Yield all symmetric slabs of a crystal; facets that gave none go into `problems`."""
    from model.evaluation.prediction import Candidate
    from model.graphs.slab_frame import PlainSlab
    from stores.structures.reading import show_notes
    from workflows.structures.crystal import crystal_of
    from workflows.structures.facets import axes_note
    from workflows.structures.naming import format_plane, mg_first_formula
    from workflows.structures.slabs import SlabSettings, enumerate_slabs

    crystal = crystal_of(bulk)
    name = mg_first_formula(bulk.composition)
    facets = enumerate_slabs(crystal, SlabSettings(max_miller_index=max_index, min_thickness=min_thickness))
    if file is not None:
        show_notes(axes_note(crystal, [facet.miller_index for facet in facets], file.name))
    for facet in facets:
        plane = format_plane(facet.miller_index, facet.spacegroup_number)
        if not facet.slabs:
            problems.append((f"{name} {plane}", facet.reason or "no symmetric slab"))
        for slab in facet.slabs:
            yield Candidate(
                f"{name} {plane} {slab.termination_label}",
                PlainSlab.from_structure(slab.structure),
                name,
                plane,
                slab.termination_label,
                lattice_is_guess=lattice_is_guess,
            )


def _by_records(found: list[SlabPrediction], bulk: Structure, uri: str) -> list[SlabPrediction]:
    """Correct predictions by the accepted records that a store has of the crystal."""
    from model.evaluation.known_facets import correct_by_computed
    from workflows.analysis.wulff import facets_from_records
    from workflows.structures.crystal import bulk_key, crystal_of
    from workflows.structures.facets import standard_plane
    from workflows.structures.naming import format_plane, mg_first_formula

    crystal = crystal_of(bulk)
    fields = ["id", "miller_index", "termination_label", "surface_energy", "surface_energy_slope"]
    fields += ["work_function", "verdicts", "method_fingerprint"]
    with existing_store(uri) as opened:
        bulks = opened.query({"bulk_key": bulk_key(bulk)}, ["id", "method_fingerprint"], collection="bulks")
        # of several methods the one with most surfaces, a rehearsal's only where there is no other
        records = max(
            (
                (is_dft(one["method_fingerprint"]), list(opened.query({"bulk_id": one["id"]}, fields)))
                for one in bulks
            ),
            key=lambda pair: (pair[0] and bool(pair[1]), len(pair[1])),
            default=(True, []),
        )[1]
    computed = []
    for facet in facets_from_records(records):
        plane = format_plane(standard_plane(crystal, facet.miller_index), crystal.spacegroup_number)
        values = {"surface_energy": facet.surface_energy, "work_function": facet.work_function}
        computed.append(((plane, facet.label), values))
    corrected, used = correct_by_computed(found, [(one.plane, one.termination) for one in found], computed)
    if used:
        name = mg_first_formula(bulk.composition)
        print_note(
            f"corrected by {pluralize(used, 'computed slab')} of {name} in {uri}, method "
            f"{records[0]['method_fingerprint']}, not checked to be that of the model's labels"
        )
    return corrected


def _problem(name: str, reason: str) -> str:
    return reason if name in reason else f"{name}: {reason}"


def _print_csv(found: Sequence[SlabPrediction], targets: Sequence[str]) -> None:
    classes = {target: list(shares) for target, shares in found[0].classes.items()} if found else {}
    of_structures = any(one.n_atoms for one in found)
    rows = [flat_prediction(one, targets) for one in found]
    print_csv(rows, prediction_columns(targets, classes, of_structures=of_structures))


def prediction_table(
    found: Sequence[SlabPrediction],
    targets: Sequence[str],
    noun: str = "slab",
    units: Mapping[str, str] | None = None,
) -> Table:
    """Table of predictions, one slab or crystal a row; `units` as the model states them."""
    from rich.text import Text

    from workflows.report.training_figures import target_name, unit_of

    with_facets = any(one.plane for one in found)
    if with_facets:
        columns = [Column("formula", once=True), Column("facet"), Column("termination", short="term.")]
    else:
        columns = [Column(noun, wrap=True), Column("formula")]
    atoms = any(one.n_atoms for one in found)  # compositions have none
    columns += [Column("atoms", right=True)] if atoms else []
    columns += [
        Column(f"{target_name(t)}\n{unit_of(t, (units or {}).get(t))}".strip(), right=True) for t in targets
    ]
    remarks = any(one.warnings for one in found)
    table = Table([*columns, *([Column("remark", wrap=True, room=16)] if remarks else [])])
    for one in found:
        place = (one.formula, one.plane, one.termination) if with_facets else (one.name, one.formula)
        table.add_row(
            *place,
            *([str(one.n_atoms)] if atoms else []),
            *(_cell(one, target) for target in targets),
            *([Text("; ".join(one.warnings), style="yellow")] if remarks else []),
        )
    return table


def _cell(one: SlabPrediction, target: str) -> str:
    """Write a value with its deviation, or the likeliest class with its probability."""
    if target in one.classes:
        name, share = next(iter(one.classes[target].items()))
        return f"{name} {share:.0%}"
    return with_sigma(one.values[target], one.sigmas[target])


def _print(
    found: Sequence[SlabPrediction],
    targets: Sequence[str],
    calibrated_on: int,
    noun: str,
    units: Mapping[str, str],
) -> None:
    print_table(prediction_table(found[:_SHOWN_ROWS], targets, noun, units))
    if len(found) > _SHOWN_ROWS:
        print_text(f"{_SHOWN_ROWS} of {len(found)} {noun}s shown; --json or --csv show all")
    if not calibrated_on:  # classes only
        return
    print_text(
        "± is one standard deviation; the 90 % interval is 1.64 times as wide to each side, calibrated on "
        f"{pluralize(calibrated_on, f'validation {noun}')} and meant for {noun}s like those"
    )
