"""Run a flow on this machine with jobflow's local manager."""

from __future__ import annotations

import logging
import sys
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from stores.errors import StoreError
from stores.files import NO_ROOM
from stores.secrets import MaskedFormatter, masked
from workflows.execution.kept import WorkDirWatch, kept_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jobflow import Flow, JobStore

    from workflows.execution.listener import Tally

JOBFLOW = logging.getLogger("jobflow")


class JobErrors(logging.Handler):
    """Collects the exceptions that jobflow's local manager swallows.

    The manager logs a failed job from inside its ``except`` block, so the exception itself is at hand here.
    An exception raised by a handler leaves the manager: that is how a run stops when results can no longer
    be kept. `check` raises if the run has lost its folder; it is called when a job starts, ends or fails.
    """

    def __init__(self, tally: Tally, check: Callable[[], None]) -> None:
        super().__init__(logging.INFO)
        self.tally = tally
        self._check = check

    def emit(self, record: logging.LogRecord) -> None:
        """Note the exception that is being handled, or raise it if the run must stop."""
        error = sys.exc_info()[1]
        if isinstance(error, StoreError) or (isinstance(error, OSError) and error.errno in NO_ROOM):
            raise error  # after these nothing more can be kept, so nothing more is computed
        self._check()
        if error is None or "failed with exception" not in record.getMessage():
            return
        name = record.getMessage().split(" failed with exception")[0]
        text = " ".join(masked(str(error)).split())
        self.tally.add_problem(name, f"{type(error).__name__}: {text}" if text else type(error).__name__)


class _JobLog(logging.FileHandler):
    """A log whose own errors (a full disk) show in the jobs, not as tracebacks on the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- the name that logging calls
        """Leave out the line."""

    def close(self) -> None:
        """Close the file; what finds no room is left out."""
        with suppress(OSError):
            super().close()


def run_local(
    flow: Flow,
    job_store: JobStore,
    work_dir: Path,
    tally: Tally,
    kept: Callable[[StoreError], str] = lambda _: "",
) -> None:
    """Run a flow to its end; jobs that fail do not stop the others, and add a problem to the tally.

    ``mgsurf.log`` in `work_dir` gets jobflow's log with all tracebacks. StoreError if results can no longer
    be kept: the store was deleted, truncated or replaced, so was the working directory, or a disk is full;
    its message has what `kept` returns for it (`workflows.execution.kept.kept_of_run`).
    """
    from jobflow import run_locally

    watch = WorkDirWatch(work_dir)
    with (
        kept_in_words(kept),
        warnings.catch_warnings(),
        _job_log(work_dir / "mgsurf.log", JobErrors(tally, watch.check)),
    ):
        warnings.filterwarnings("ignore", "cd is deprecated", FutureWarning)  # monty's, used by jobflow
        try:
            run_locally(flow, log=False, store=job_store, root_dir=work_dir)
        except (FileNotFoundError, NotADirectoryError):  # jobflow enters the folder before each job
            watch.check()
            raise


@contextmanager
def _job_log(path: Path, errors: JobErrors) -> Iterator[None]:
    to_file = _JobLog(path)
    to_file.setFormatter(MaskedFormatter("%(asctime)s %(levelname)s %(message)s"))
    level, propagate = JOBFLOW.level, JOBFLOW.propagate
    JOBFLOW.setLevel(logging.INFO)
    JOBFLOW.propagate = False
    for handler in (to_file, errors):
        JOBFLOW.addHandler(handler)
    try:
        yield
    finally:
        for handler in (to_file, errors):
            JOBFLOW.removeHandler(handler)
        to_file.close()
        JOBFLOW.setLevel(level)
        JOBFLOW.propagate = propagate
