"""Compositions that `mgsurf predict` is given: formulas, CSV files, and those imported into a store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import InputError
from stores.paths import kind_of_path, names_store
from workflows.cli.access import existing_store
from workflows.cli.console import print_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model.data.composition_table import CompositionColumns
    from model.evaluation.prediction import Candidate
    from model.training.ensemble import Ensemble

    Problems = list[tuple[str, str]]


def compositions_of(
    inputs: Sequence[str], columns: CompositionColumns, ensemble: Ensemble, problems: Problems
) -> Iterator[Candidate]:
    """Yield the compositions of formulas, CSV files and stores; what cannot be read goes into `problems`.

    Numeric columns that the model learned from are read by their names; of formulas they are missing.
    """
    kinds = [kind_of_path(text) for text in inputs]
    tables = [
        text for text, kind in zip(inputs, kinds, strict=True) if kind == "file" and not names_store(text)
    ]
    for option, given in (("--composition-column", columns.names), ("--balance", columns.balance)):
        if given and not tables:
            raise InputError(f"{option} is of CSV files of compositions, and none is given; leave it out")
    if ensemble.extras and not all(kinds):
        print_note(
            f"the model learned from {', '.join(ensemble.extras)} too, which formulas do not state: taken as "
            "missing; a CSV file may have them"
        )
    for text, kind in zip(inputs, kinds, strict=True):
        path = Path(text)
        if names_store(text):
            yield from _of_store(text, ensemble)
        elif kind == "file":
            yield from _of_table(path, columns, ensemble, problems)
        elif kind or path.suffix.lower() in (".csv", ".gz", ".xz") or "/" in text[:2]:
            problems.append((text, "is no file; name a CSV file of compositions, or a formula"))
        else:
            yield from _of_formula(text, columns, ensemble, problems)


def _of_formula(
    text: str, columns: CompositionColumns, ensemble: Ensemble, problems: Problems
) -> Iterator[Candidate]:
    from model.compositions.formulas import parse_composition

    try:
        parsed = parse_composition(text, unit=(columns.unit or "at%")[:2])
    except InputError as error:
        problems.append((text, str(error)))
        return
    if parsed.note:
        print_note(f"{text}: {parsed.note}")
    yield _candidate(text, parsed.amounts, {}, ensemble)


def _of_table(
    path: Path, columns: CompositionColumns, ensemble: Ensemble, problems: Problems
) -> Iterator[Candidate]:
    from model.data.composition_table import CompositionTable
    from model.data.import_formats import Problem

    table = CompositionTable(path, columns)
    places, missing = {}, []
    for name in ensemble.extras:
        try:
            places[name] = table.column(name)
        except InputError:
            missing.append(name)
    if missing:
        print_note(f"{path} has no column {', '.join(missing)}, which the model learned from: missing")
    for row in table.rows():
        if isinstance(row, Problem):
            problems.append((str(path), row.text))
            continue
        try:
            extras = {name: table.number(row, place) for name, place in places.items()}
        except InputError as error:
            problems.append((f"{path}, line {row.line}", str(error)))
            continue
        yield _candidate(row.text, row.fractions, extras, ensemble)


def _of_store(uri: str, ensemble: Ensemble) -> Iterator[Candidate]:
    from stores.labelled import COMPOSITION

    with existing_store(uri) as store:
        fields = ["id", "fractions", "extras"]
        empty = True
        for document in store.query({"geometry": COMPOSITION}, fields, collection="labels"):
            empty = False
            extras = document.get("extras") or {}
            yield replace(_candidate("", document["fractions"], extras, ensemble), name=document["id"])
    if empty:
        raise InputError(f"the store {uri} holds no compositions; mgsurf import adds some")


def _candidate(
    name: str, fractions: dict[str, float], extras: dict[str, float | None], ensemble: Ensemble
) -> Candidate:
    from model.data.composition_entries import canonical_formula, with_extras
    from model.evaluation.prediction import Candidate

    return Candidate(name, with_extras(fractions, extras, ensemble.extras), canonical_formula(fractions))
