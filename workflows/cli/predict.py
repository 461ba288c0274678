"""`mgsurf predict`: surface energies and work functions of slabs that nobody has computed."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, counted
from workflows.cli.console import check_one_format, print_table, print_text
from workflows.cli.learning import require_network
from workflows.execution.progress_bar import ProgressBar
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pymatgen.core import Structure

    from model.evaluation.prediction import Candidate, SlabPrediction

_STORE_ENDINGS = (".sqlite", ".sqlite3", ".db")
_SHOWN_PROBLEMS = 20
_SHOWN_ROWS = 200


def predict(
    inputs: list[str],
    *,
    bulk: Path | None,
    prototype: str | None,
    formula: str | None,
    max_index: int,
    min_thickness: float,
    symprec: float | None,
    model: Path | None,
    store: str | None,
    workers: int | None,
    quiet: bool,
    as_json: bool,
    as_csv: bool,
) -> int:
    """Predict slabs and print them.

    Returns
    -------
    int
        Exit status: 1 if some of several slabs could not be predicted.
    """
    check_one_format(as_json, as_csv)
    crystal = bulk is not None or formula is not None or prototype is not None
    if crystal == bool(inputs):
        raise InputError(
            "say what to predict: slab files, a folder or a store; or a crystal to cut with --bulk FILE or "
            "--formula MgAg --prototype B2" + (" (not both)" if crystal else "")
        )
    require_network()
    from model.evaluation.prediction import predict_slabs
    from workflows.cli.access import chosen_ensemble
    from workflows.cli.options import CrystalChoice
    from workflows.engines.gpaw.process import logical_cores

    ensemble, _ = chosen_ensemble(model, store)
    problems: list[tuple[str, str]] = []
    if crystal:
        structure = CrystalChoice(prototype, formula, symprec).structure(bulk)
        candidates = _cut(structure, bulk, prototype is not None, max_index, min_thickness, problems)
    else:
        candidates = _given(inputs, problems)
    with ProgressBar(quiet) as bar:
        found, refused = predict_slabs(
            ensemble,
            candidates,
            workers=workers or logical_cores(),
            progress=partial(bar.show, "slabs predicted"),
        )
    problems += [(refusal.name, refusal.reason) for refusal in refused]
    if not found and len(problems) == 1:
        raise InputError(_problem(*problems[0]))
    targets = ensemble.targets
    if as_json:
        print(json.dumps([plain(one, targets) for one in found], indent=2))
    elif as_csv:
        _print_csv(found, targets)
    elif found:
        _print(found, targets, min(one.n for one in ensemble.calibration.values()))
    for problem in problems[:_SHOWN_PROBLEMS]:
        print(f"mgsurf: {_problem(*problem)}", file=sys.stderr)
    if len(problems) > _SHOWN_PROBLEMS:
        print(f"mgsurf: and {len(problems) - _SHOWN_PROBLEMS} more could not be predicted", file=sys.stderr)
    return 0 if not problems else 1


def plain(one: SlabPrediction, targets: Sequence[str]) -> dict[str, Any]:
    """Return a prediction for JSON: by target its value, standard deviation and 90 % interval."""
    numbers: dict[str, Any] = {}
    for target in targets:
        low, high = one.interval(target)
        values = {"value": one.values[target], "sigma": one.sigmas[target], "low": low, "high": high}
        numbers[target] = {name: _finite(value) for name, value in values.items()}
    return {
        "name": one.name,
        "formula": one.formula,
        "plane": one.plane,
        "termination": one.termination,
        "n_atoms": one.n_atoms,
        **numbers,
        "distance": _finite(one.distance),
        "lattice_is_guess": one.lattice_is_guess,
        "warnings": list(one.warnings),
    }


def _given(inputs: Sequence[str], problems: list[tuple[str, str]]) -> Iterator[Candidate]:
    """Yield the slabs of files, folders and stores; what cannot be read goes into `problems`."""
    from stores.structures.reading import structure_files

    for text in inputs:
        path = Path(text)
        if "://" in text or text.lower().endswith(_STORE_ENDINGS):
            yield from _of_store(text, problems)
        elif path.is_dir():
            for file in structure_files(path):
                yield from _of_file(file, problems)
        else:
            yield from _of_file(path, problems)


def _of_file(path: Path, problems: list[tuple[str, str]]) -> Iterator[Candidate]:
    from model.evaluation.prediction import Candidate
    from model.graphs.slab_frame import PlainSlab
    from stores.structures.reading import read_all
    from workflows.structures.naming import mg_first_formula

    try:
        structures = read_all(path)
    except InputError as error:
        problems.append((str(path), str(error)))
        return
    for number, structure in enumerate(structures, start=1):
        name = str(path) if len(structures) == 1 else f"{path}#{number}"
        yield Candidate(name, PlainSlab.from_structure(structure), mg_first_formula(structure.composition))


def _of_store(uri: str, problems: list[tuple[str, str]]) -> Iterator[Candidate]:
    """Yield the slabs of a store as cut: those computed, or if there are none those imported."""
    from model.evaluation.prediction import Candidate
    from model.graphs.slab_frame import PlainSlab
    from stores.labelled import label_documents
    from workflows.cli.access import existing_store
    from workflows.structures.naming import format_plane

    fields = ["id", "formula", "slab", "miller_index", "spacegroup_number", "termination_label"]
    fields += ["provenance", "bulk_id"]
    with existing_store(uri) as store:
        count = 0
        for document in store.query({}, fields, sort={"formula": 1}):
            count += 1
            plane = tuple(document["miller_index"])
            try:
                slab = PlainSlab.from_dict(document["slab"])
            except InputError as error:
                problems.append((f"record {document['id']}", str(error)))
                continue
            yield Candidate(
                document["id"],
                slab,
                document["formula"],
                format_plane(plane, document["spacegroup_number"] or 0) if any(plane) else "",
                document["termination_label"],
                # the provenance is that of the crystal before it was relaxed
                bool((document["provenance"] or {}).get("lattice_is_guess")) and not document["bulk_id"],
            )
        if not count:
            for document in label_documents(store, {}, ["id", "formula", "slab"]):
                count += 1
                try:
                    slab = PlainSlab.from_dict(document["slab"])
                except InputError as error:
                    problems.append((f"record {document['id']}", str(error)))
                    continue
                yield Candidate(document["id"], slab, document["formula"])
        if not count:
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
    from workflows.structures.axes import axes_note
    from workflows.structures.crystal import crystal_of
    from workflows.structures.naming import format_plane, mg_first_formula
    from workflows.structures.slabs import enumerate_slabs

    crystal = crystal_of(bulk)
    name = mg_first_formula(bulk.composition)
    facets = enumerate_slabs(crystal, max_miller_index=max_index, min_thickness=min_thickness)
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


def _problem(name: str, reason: str) -> str:
    return reason if name in reason else f"{name}: {reason}"


def _finite(value: float) -> float | None:
    import math

    return value if math.isfinite(value) else None


def _print_csv(found: Sequence[SlabPrediction], targets: Sequence[str]) -> None:
    import csv

    words = ["name", "formula", "plane", "termination", "n_atoms"]
    columns = [f"{target}{ending}" for target in targets for ending in ("", "_sigma", "_low", "_high")]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*words, *columns, "distance", "lattice_is_guess", "warnings"])
    for one in found:
        row = plain(one, targets)
        numbers = [row[target][key] for target in targets for key in ("value", "sigma", "low", "high")]
        writer.writerow(
            [*(row[word] for word in words), *numbers, row["distance"], row["lattice_is_guess"],
             "; ".join(row["warnings"])]
        )  # fmt: skip


def prediction_table(found: Sequence[SlabPrediction], targets: Sequence[str]) -> Table:
    """Table of predictions, one slab a row."""
    from rich.text import Text

    from workflows.report.training_figures import target_name, unit_of

    with_facets = any(one.plane for one in found)
    if with_facets:
        columns = [Column("formula", once=True), Column("facet"), Column("termination", short="term.")]
    else:
        columns = [Column("slab", wrap=True), Column("formula")]
    columns.append(Column("atoms", right=True))
    columns += [Column(f"{target_name(target)}\n{unit_of(target)}", right=True) for target in targets]
    remarks = any(one.warnings for one in found)
    table = Table([*columns, *([Column("remark", wrap=True, room=16)] if remarks else [])])
    for one in found:
        place = (one.formula, one.plane, one.termination) if with_facets else (one.name, one.formula)
        table.add_row(
            *place,
            str(one.n_atoms),
            *(_with_sigma(one.values[target], one.sigmas[target]) for target in targets),
            *([Text("; ".join(one.warnings), style="yellow")] if remarks else []),
        )
    return table


def _print(found: Sequence[SlabPrediction], targets: Sequence[str], calibrated_on: int) -> None:
    print_table(prediction_table(found[:_SHOWN_ROWS], targets))
    if len(found) > _SHOWN_ROWS:
        print_text(f"{_SHOWN_ROWS} of {len(found)} slabs shown; --json or --csv show all")
    print_text(
        "± is one standard deviation; the 90 % interval is 1.64 times as wide to each side, calibrated on "
        f"{counted(calibrated_on, 'validation slab')} and meant for slabs like those"
    )


def _with_sigma(value: float, sigma: float) -> str:
    """Write a value with as many decimals as two digits of its standard deviation."""
    import math

    if not math.isfinite(sigma) or sigma <= 0:
        return f"{value:.4g}"
    decimals = max(1 - math.floor(math.log10(sigma)), 0)
    return f"{value:.{decimals}f} ± {sigma:.{decimals}f}"
