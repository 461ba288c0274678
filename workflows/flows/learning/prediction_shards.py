"""Predictions of many structures as Parquet files, one for each shard, under one manifest.

Shard i of N takes every N-th input. Shards share nothing but a folder, so that they run one after the other,
in an array of Slurm jobs or under Parsl. ``manifest.json`` records what all of them are made of: a shard of
another model, of other inputs or another N is refused. A file appears when its shard is complete; until then
its finished parts lie in a hidden folder beside it, from which the shard resumes after an interruption.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from stores.errors import InputError, one_line
from stores.files import locked, replacing, write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    Row = dict[str, Any]

FORMAT = "mgsurf predictions 1"
MANIFEST = "manifest.json"
ROWS_AT_ONCE = 8192
"""Rows that are held before they are written, as one row group."""

PART_INPUTS = 20_000
"""Inputs whose rows are written together: what an interruption costs at most, some 20 s of one core."""

PROBLEM = "problem"
"""Column with the reason why an input could not be predicted."""

_OTHER = {
    "model": "another model",
    "inputs_sha256": "other inputs",
    "shards": "another number of shards",
}
_WORDS = frozenset({"name", "formula", "plane", "termination", "warnings", PROBLEM})


@dataclass(frozen=True)
class Shard:
    """Every `total`-th input, from the one numbered `number` (from 1)."""

    number: int = 1
    total: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``3/16``; InputError if it is no such thing."""
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError(f"--shard {text}: write it as I/N with I from 1 to N, such as 3/16")
        return cls(int(match[1]), int(match[2]))

    def takes(self, position: int) -> bool:
        """Whether an input, by its place from 0, is in this shard."""
        return position % self.total == self.number - 1

    def file_of(self, folder: Path) -> Path:
        """Return its file in the folder of all shards."""
        width = len(str(self.total))
        return folder / f"predictions-{self.number:0{width}}-of-{self.total}.parquet"

    def parts_in(self, folder: Path) -> Path:
        """Return the folder of its parts while it is not complete."""
        return folder / f".{self.file_of(folder).stem}.parts-{PART_INPUTS}"

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


@dataclass
class InputList:
    """Counts all inputs of all shards and hashes their names, and passes on those of one shard."""

    shard: Shard
    count: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def of_shard(self, names: Iterable[str]) -> Iterator[str]:
        """Yield the names that are in the shard."""
        for name in names:
            self.digest.update(name.encode(errors="surrogateescape") + b"\0")
            if self.shard.takes(self.count):
                yield name
            self.count += 1


@dataclass(frozen=True)
class Progress:
    """Which shards of a folder are complete."""

    rows: int  # of all complete ones
    missing: tuple[int, ...]  # numbers of the others


def check_installed() -> None:
    """Raise an InputError if pyarrow is missing."""
    try:
        import pyarrow.parquet  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        raise InputError("Parquet files need pyarrow; run: pip install 'mgsurf[parquet]'") from None


def open_folder(folder: Path, identity: Mapping[str, Any], *, overwrite: bool) -> None:
    """Make the folder of the shards, or check that it is of the same model, inputs and number of shards.

    Raises
    ------
    InputError
        If it is not, and is not to be overwritten, or if its manifest is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"format": FORMAT, **identity}
    with locked(folder / ".manifest.lock"):
        path = folder / MANIFEST
        found = _read_manifest(path)
        if found is not None and found != wanted:
            if not overwrite:
                other = [text for name, text in _OTHER.items() if found.get(name) != wanted.get(name)]
                raise InputError(
                    f"{folder}: holds predictions of {' and '.join(other) or 'another version of mgsurf'}; "
                    "choose another folder with --output, or add --overwrite to remove them"
                )
            for file in folder.glob("predictions-*.parquet"):
                file.unlink()
            for parts in folder.glob(".predictions-*.parts-*"):
                shutil.rmtree(parts)
            found = None
        if found is None:
            write_file(path, json.dumps(wanted, indent=2) + "\n")


def _read_manifest(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(
            f"{path}: is damaged ({one_line(error)}); choose another folder with --output"
        ) from None
    return found if isinstance(found, dict) else {}


def write_shard(
    folder: Path,
    shard: Shard,
    columns: Sequence[str],
    classes: Iterable[str],
    parts: Sequence[Callable[[int], Iterable[Row]]],
    *,
    again: bool = False,
) -> tuple[int, int]:
    """Write the file of a shard, which appears when it is complete; finished parts are not made again.

    Parameters
    ----------
    folder
        Made by `open_folder`.
    columns
        Names of the columns, see `workflows.flows.learning.prediction_rows.prediction_columns`.
    classes
        Those of them that hold names of classes.
    parts
        Make the rows of each part, by column; what a row lacks is null. Called with the number of rows that
        came before. Rows are not held in memory.
    again
        Make finished parts again, too.

    Returns
    -------
    tuple of int
        Rows in the file, and how many of them have a problem.

    Raises
    ------
    InputError
        If another process writes this shard.
    """
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]
    import pyarrow.parquet as pq

    words = _WORDS | set(classes)
    kinds = {"n_atoms": pa.int32(), "lattice_is_guess": pa.bool_()}
    schema = pa.schema(
        [
            (name, pa.string() if name in words else kinds.get(name, pa.float64()))
            for name in (*columns, PROBLEM)
        ]
    )
    path, parts_folder = shard.file_of(folder), shard.parts_in(folder)
    advice = "choose another --shard"
    with locked(folder / f".{path.stem}.lock", 0, advice):
        if again:
            shutil.rmtree(parts_folder, ignore_errors=True)
        parts_folder.mkdir(exist_ok=True)
        files, done = [parts_folder / f"{i:06}.parquet" for i in range(len(parts))], 0
        for file, rows in zip(files, parts, strict=True):
            try:
                there = rows_of(file)
            except InputError:
                there = None
            if there is None:
                there = _write_part(file, schema, rows(done))
            done += there
        n, problems = 0, 0
        with (
            replacing(path, alone=True) as new,
            pq.ParquetWriter(new, schema, compression="zstd") as writer,
        ):
            for file in files:
                for batch in pq.ParquetFile(file).iter_batches(ROWS_AT_ONCE):
                    writer.write_batch(batch)
                    n += batch.num_rows
                    problems += int(pc.count(batch.column(PROBLEM)).as_py())
        shutil.rmtree(parts_folder, ignore_errors=True)
    return n, problems


def _write_part(path: Path, schema: Any, rows: Iterable[Row]) -> int:
    """Write the rows of a part, `ROWS_AT_ONCE` at a time; return their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    given, n = iter(rows), 0
    with replacing(path, alone=True) as new, pq.ParquetWriter(new, schema, compression="zstd") as writer:
        while waiting := list(islice(given, ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(waiting, schema))
            n += len(waiting)
    return n


def rows_of(path: Path) -> int | None:
    """Return the number of rows of a complete shard, None if there is none; InputError if it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        return None
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: is damaged ({one_line(error)}); add --overwrite to predict it again"
        ) from None


def progress_of(folder: Path, total: int) -> Progress:
    """Return which of the shards in a folder are complete."""
    rows, missing = 0, []
    for number in range(1, total + 1):
        found = rows_of(Shard(number, total).file_of(folder))
        if found is None:
            missing.append(number)
        rows += found or 0
    return Progress(rows, tuple(missing))
