"""Run a flow on this machine with jobflow's local manager."""

from __future__ import annotations

import errno
import logging
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stores.errors import StoreError
from stores.secrets import MaskedFormatter, masked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobflow import Flow, JobStore

    from workflows.execution.listener import Tally

JOBFLOW = logging.getLogger("jobflow")

FATAL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""After these nothing more can be kept, so nothing more is computed."""


class JobErrors(logging.Handler):
    """Collects the exceptions that jobflow's local manager swallows.

    The manager logs a failed job from inside its ``except`` block, so the exception itself is at hand here.
    An exception raised by a handler leaves the manager: that is how a run stops when results can no longer
    be kept.

    Parameters
    ----------
    tally
        Where problems are noted.
    """

    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.INFO)
        self.tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        """Note the exception that is being handled, or raise it if the run must stop."""
        error = sys.exc_info()[1]
        if error is None or "failed with exception" not in record.getMessage():
            return
        if isinstance(error, StoreError) or getattr(error, "errno", None) in FATAL_ERRNOS:
            raise error
        name = record.getMessage().split(" failed with exception")[0]
        text = " ".join(masked(str(error)).split())
        self.tally.add_problem(name, f"{type(error).__name__}: {text}" if text else type(error).__name__)


def run_local(flow: Flow, job_store: JobStore, work_dir: Path, tally: Tally) -> None:
    """Run a flow to its end; jobs that fail do not stop the others.

    Parameters
    ----------
    flow
        Any jobflow flow.
    job_store
        Where jobflow keeps the jobs' outputs.
    work_dir
        Working directory; ``mgsurf.log`` in it gets jobflow's log with all tracebacks.
    tally
        Gets a problem for each job that raised.

    Raises
    ------
    StoreError, OSError
        If results can no longer be kept (disk full, store gone). What was stored before stays.
    """
    from jobflow import run_locally

    with warnings.catch_warnings(), _job_log(work_dir / "mgsurf.log", JobErrors(tally)):
        warnings.filterwarnings("ignore", "cd is deprecated", FutureWarning)  # monty's, used by jobflow
        run_locally(flow, log=False, store=job_store, root_dir=work_dir)


@contextmanager
def _job_log(path: Path, errors: JobErrors) -> Iterator[None]:
    to_file = logging.FileHandler(path)
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
