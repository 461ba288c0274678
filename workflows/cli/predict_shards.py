"""`mgsurf predict --shard I/N --output FOLDER`: predictions of many slabs as Parquet files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from stores.errors import InputError, pluralize
from stores.paths import kind_of_path, names_store
from workflows.cli.console import print_note, print_text
from workflows.cli.options import OUTPUT
from workflows.execution.progress_bar import ProgressBar

if TYPE_CHECKING:
    from model.evaluation.prediction import Candidate
    from model.training.ensemble import Ensemble
    from stores.surfaces import SurfaceStore
    from workflows.flows.learning.prediction_shards import InputList, Shard

Problems = list[tuple[str, str]]
_IDS_AT_ONCE = 1000


@dataclass(frozen=True)
class ShardedOutput:
    """Parquet files that predictions are written to, one for each shard of the inputs."""

    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Every N-th input from the I-th, into --output.", rich_help_panel=OUTPUT
        ),
    ] = None
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Parquet files and their manifest.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace what the folder holds.", rich_help_panel=OUTPUT),
    ] = False

    def __post_init__(self) -> None:
        if self.shard is not None and self.output is None:
            raise InputError(f"--shard {self.shard}: name the folder of all shards by --output FOLDER")
        if self.overwrite and self.output is None:
            raise InputError("--overwrite goes with --output FOLDER")


@dataclass(frozen=True)
class Readers:
    """How slabs are read: a file, and records of a store of which the ids are given; problems are noted."""

    file: Callable[[Path, Ensemble, Problems], Iterator[Candidate]]
    store: Callable[[str, Problems, Sequence[str]], Iterator[Candidate]]


def where_slabs_are(store: SurfaceStore) -> tuple[str, dict[str, Any]]:
    """Return the collection and a filter: what was computed, or if nothing was the imported structures."""
    from stores.labelled import COMPOSITION

    return ("surfaces", {}) if store.count() else ("labels", {"geometry": {"$ne": COMPOSITION}})


def predict_shard(
    inputs: Sequence[str], target: ShardedOutput, ensemble: Ensemble, loaded: str, workers: int,
    readers: Readers, quiet: bool, as_json: bool,
) -> int:  # fmt: skip
    """Predict one shard of slabs into its file; return the exit status, 1 if some could not be predicted."""
    from model.evaluation.prediction import check_predicts_slabs, predict_in_chunks
    from stores.learning.model_card import is_version
    from workflows.flows.learning.prediction_rows import flat_prediction, prediction_columns
    from workflows.flows.learning.prediction_shards import (
        PROBLEM,
        InputList,
        Shard,
        check_installed,
        open_folder,
        progress_of,
        rows_of,
        write_shard,
    )
    from workflows.flows.learning.suggestion import folder_version

    check_predicts_slabs(ensemble)
    check_installed()
    folder = target.output or Path()
    shard = Shard.parse(target.shard) if target.shard is not None else Shard()
    listed = InputList(shard)
    units = [unit for text in inputs for unit in _units_of(text, listed)]
    if not listed.count:
        raise InputError(
            f"{', '.join(inputs)} holds no slabs; mgsurf run or mgsurf import adds some to a store"
        )
    identity = {
        "model": loaded if is_version(loaded) else folder_version(Path(loaded)),
        "targets": list(ensemble.targets),
        "inputs": listed.count,
        "inputs_sha256": listed.digest.hexdigest(),
        "shards": shard.total,
    }
    open_folder(folder, identity, overwrite=target.overwrite)
    path = shard.file_of(folder)
    rows_there = None if target.overwrite else rows_of(path)
    status = 0
    if rows_there is not None:
        print_note(
            f"{path}: shard {shard} is complete ({pluralize(rows_there, 'row')}); --overwrite repeats it"
        )
    else:
        total = sum(unit.n or 0 for unit in units) if all(unit.n is not None for unit in units) else None

        def rows(units: Sequence[_File | _Records], bar: ProgressBar, done: int) -> Iterator[dict[str, Any]]:
            problems: Problems = []
            candidates = (one for unit in units for one in unit.candidates(readers, ensemble, problems))
            for found, refused in predict_in_chunks(ensemble, candidates, workers=workers):
                yield from (flat_prediction(one, ensemble.targets) for one in found)
                problems.extend((one.name, one.reason) for one in refused)
                done += len(found) + len(problems)
                yield from _problem_rows(problems)
                bar.show("slabs predicted", done, total)
            yield from _problem_rows(problems)

        columns = prediction_columns(ensemble.targets, ensemble.class_names, of_structures=True)
        with ProgressBar(quiet) as bar:
            parts = [partial(rows, part, bar) for part in _parts_of(units)]
            n, failed = write_shard(
                folder, shard, columns, tuple(ensemble.class_names), parts, again=target.overwrite
            )
        if failed:
            print_note(f"{failed} of {n} could not be predicted; column {PROBLEM} of {path} has the reasons")
        status = 1 if failed else 0
    progress = progress_of(folder, shard.total)
    if as_json:
        print(json.dumps({"file": str(path), "rows": progress.rows, "missing": list(progress.missing)}))
    elif progress.missing:
        missing = ", ".join(map(str, progress.missing[:10])) + (" ..." if len(progress.missing) > 10 else "")
        print_text(
            f"{shard.total - len(progress.missing)} of {shard.total} shards complete, missing {missing}"
        )
    else:
        print_text(
            f"{pluralize(progress.rows, 'row')} in {folder}/predictions-*.parquet, all shards complete"
        )
    return status


def _parts_of(units: Iterable[_File | _Records]) -> list[list[_File | _Records]]:
    """Divide what a shard reads into parts of so many inputs; a file of several structures is one."""
    from workflows.flows.learning.prediction_shards import PART_INPUTS

    parts: list[list[_File | _Records]] = []
    room = 0
    for unit in units:
        for piece in unit.pieces(PART_INPUTS):
            size = PART_INPUTS if piece.n is None else piece.n
            if size > room:
                parts.append([])
                room = PART_INPUTS
            parts[-1].append(piece)
            room -= size
    return parts


def _problem_rows(problems: Problems) -> Iterator[dict[str, Any]]:
    """Yield a row for each problem, and forget it."""
    while problems:
        name, reason = problems.pop(0)
        yield {"name": name, "problem": reason}


@dataclass(frozen=True)
class _File:
    path: Path
    shard: Shard | None  # of the structures in it; None: all are of the shard

    @property
    def n(self) -> int | None:
        return 1 if self.shard is None else None

    def pieces(self, _: int) -> list[Self]:
        return [self]

    def candidates(self, readers: Readers, ensemble: Ensemble, problems: Problems) -> Iterator[Candidate]:
        own: Problems = []
        found = readers.file(self.path, ensemble, own)
        if self.shard is not None:
            found = islice(found, self.shard.number - 1, None, self.shard.total)
        yield from found
        if self.shard is None or self.shard.number == 1:  # a file that cannot be read is one problem
            problems += own


@dataclass(frozen=True)
class _Records:
    uri: str
    ids: Sequence[str]

    @property
    def n(self) -> int | None:
        return len(self.ids)

    def pieces(self, size: int) -> list[Self]:
        """Divide them, into so many each."""
        return [replace(self, ids=self.ids[i : i + size]) for i in range(0, len(self.ids), size)]

    def candidates(self, readers: Readers, _: Ensemble, problems: Problems) -> Iterator[Candidate]:
        for start in range(0, len(self.ids), _IDS_AT_ONCE):
            yield from readers.store(self.uri, problems, self.ids[start : start + _IDS_AT_ONCE])


def _units_of(text: str, listed: InputList) -> Iterator[_File | _Records]:
    """Yield what a shard reads of an input: files of a folder, records of a store, structures of a file."""
    from stores.structures.reading import structure_files
    from workflows.cli.access import existing_store

    path = Path(text)
    if names_store(text):
        with existing_store(text) as store:
            collection, structures = where_slabs_are(store)
            documents = store.query(structures, ["id"], sort={"id": 1}, collection=collection)
            yield _Records(text, list(listed.of_shard(document["id"] for document in documents)))
    elif (kind := kind_of_path(path)) == "folder":
        files = structure_files(path)
        names = (f"{file.relative_to(path)} {file.stat().st_size}" for file in files)
        for name in listed.of_shard(names):
            yield _File(path / name.rpartition(" ")[0], None)
    elif kind == "file":
        listed.digest.update(f"{path.name} {path.stat().st_size}\0".encode(errors="surrogateescape"))
        listed.count += 1
        yield _File(path, listed.shard)
    else:
        raise InputError(f"{path}: no such file or folder; check the path")
