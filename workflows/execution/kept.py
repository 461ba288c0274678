"""What is kept of a run that ended early, and the checks that end it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import StoreError, StoreLostError, pluralize, system_line
from stores.files import NO_ROOM
from workflows.engines.protocol import reads_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workflows.execution.listener import Tally


class NoRoomError(StoreError):
    """A disk or quota is full, or read-only: nothing more can be written."""

    exit_code = 74


class WorkDirLostError(StoreError):
    """The folder of a run was deleted or replaced while the run was at work in it."""


class WorkDirWatch:
    """Finds out whether an existing folder was deleted or replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._identity = self._look()

    def check(self) -> None:
        """Raise WorkDirLostError if the folder was deleted, or another was put in its place."""
        found = self._look()
        if found != self._identity:
            what = "was replaced by another" if found else "was deleted or moved"
            raise WorkDirLostError(
                f"The folder {self.folder} of the engine's files {what} while mgsurf worked in it; nothing "
                "more is computed. Put it back if it was moved, then run the same command again."
            )

    def _look(self) -> tuple[int, int] | None:
        try:
            status = self.folder.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


@contextmanager
def kept_in_words(kept: Callable[[StoreError], str]) -> Iterator[None]:
    """Add what `kept` returns, on what is kept of the work, to an error of the store.

    Errors of the operating system for want of room become a `NoRoomError`. The message has one line.
    """
    try:
        yield
    except StoreError as error:
        text = kept(error)
        if not text:
            raise
        raise type(error)(f"{str(error).rstrip('.')}. {text}") from error
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        full = NoRoomError(f"{system_line(error)}.")
        raise NoRoomError(f"{full} {kept(full)}".strip()) from error


def kept_of_run(tally: Tally, work_dir: Path, engine: object) -> Callable[[StoreError], str]:
    """Return a function that describes, for an error that ends a run, where the run's results are.

    `work_dir` is the folder of the engine's files; see `workflows.engines.protocol.reads_folders`.
    """

    def kept(error: StoreError) -> str:
        done = len(tally.computed)
        unstored = [name for name in tally.started if name not in tally.computed]
        lost = isinstance(error, StoreLostError)
        if not done and not unstored:
            return "This run had computed nothing yet."
        parts = []
        if done and lost:
            parts.append(f"This run computed {pluralize(done, 'calculation')}, stored in what is lost.")
        elif done:
            records = "record is" if done == 1 else "records are"
            parts.append(f"This run computed {pluralize(done, 'calculation')}, whose {records} in the store.")
        if unstored:
            more = f" and {len(unstored) - 3} more" if len(unstored) > 3 else ""
            parts.append(f"Nothing was stored of {', '.join(unstored[:3])}{more}.")
        if (unstored or lost) and not isinstance(error, WorkDirLostError):
            parts.append(_files(work_dir, engine))
        return " ".join(parts)

    return kept


def _files(work_dir: Path, engine: object) -> str:
    if not work_dir.is_dir():
        return f"The engine's files in {work_dir} are gone too."
    if reads_folders(engine):
        again = "the same command reads finished calculations from there and does not compute them again"
    else:
        again = "this engine computes again what the store has no record of"
    return f"The engine's files are kept in {work_dir}: {again}."
