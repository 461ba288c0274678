"""Predictions of many structures as Parquet files, one for each shard, under one manifest.

Shard i of N takes every N-th input. Shards share nothing but a folder, so that they run one after the other,
in an array of Slurm jobs or under Parsl. ``manifest.json`` says what all of them are made of: a shard of
another model, of other inputs or another N is refused. A file appears when its shard is complete.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from stores.errors import InputError, one_line
from stores.files import locked, replacing, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    Row = dict[str, Any]

FORMAT = "mgsurf predictions 1"
MANIFEST = "manifest.json"
ROWS_AT_ONCE = 8192
"""Rows that are held before they are written, as one row group."""

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
    folder: Path, shard: Shard, columns: Sequence[str], classes: Iterable[str], rows: Iterable[Row]
) -> tuple[int, int]:
    """Write the file of a shard, which appears when it is complete.

    Parameters
    ----------
    folder
        Made by `open_folder`.
    columns
        Names of the columns, see `workflows.flows.learning.prediction_rows.prediction_columns`.
    classes
        Those of them that hold names of classes.
    rows
        By column; what a row lacks is null. Not held in memory.

    Returns
    -------
    tuple of int
        Rows written, and how many of them have a problem.

    Raises
    ------
    InputError
        If another process writes this shard.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = _WORDS | set(classes)
    kinds = {"n_atoms": pa.int32(), "lattice_is_guess": pa.bool_()}
    schema = pa.schema(
        [
            (name, pa.string() if name in words else kinds.get(name, pa.float64()))
            for name in (*columns, PROBLEM)
        ]
    )
    path = shard.file_of(folder)
    n, problems = 0, 0
    waiting: list[Row] = []
    advice = "choose another --shard"
    with (
        locked(folder / f".{path.stem}.lock", 0, advice),
        replacing(path, alone=True) as new,
        pq.ParquetWriter(new, schema, compression="zstd") as writer,
    ):

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(waiting, schema))
            waiting.clear()

        for row in rows:
            waiting.append(row)
            n += 1
            problems += row.get(PROBLEM) is not None
            if len(waiting) >= ROWS_AT_ONCE:
                flush()
        flush()
    return n, problems


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
