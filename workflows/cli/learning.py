"""What the commands of the network share: torch or one line saying how to get it, data, progress."""

from __future__ import annotations

import logging
from functools import cache, partial
from time import monotonic
from typing import TYPE_CHECKING

from stores.connections import resolve_store_uri
from stores.errors import InputError, install_command
from stores.exclusions import excluded_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.data.dataset import Dataset
    from model.graphs.graph import GraphSettings
    from model.training.ablation import Step
    from model.training.runs import Datasets
    from model.training.train import Progress
    from workflows.execution.progress_bar import ProgressBar

LOG = logging.getLogger(__name__)


def require_network(*more: str) -> None:
    """Check that torch is there, and other packages that a command needs.

    Raises
    ------
    InputError
        Naming the command that installs them.
    """
    from importlib import import_module

    for name in ("torch", *more):
        try:
            import_module(name)
        except ImportError as error:
            reason = "is not installed" if isinstance(error, ModuleNotFoundError) else f"is broken ({error})"
            raise InputError(
                f"this command needs {name}, which {reason}: {install_command('model')}"
            ) from error


def labelled_slabs(
    store_uri: str | Sequence[str] | None,
    method: str | None,
    snapshot: str | None = None,
    *,
    separate: bool = False,
) -> Datasets:
    """Return what gives a run its data set: the labelled slabs of a store or several, graphs cached on disk.

    The result can be sent to another process.

    Raises
    ------
    InputError
        If a snapshot is named together with a method or several stores: what it holds is settled.
    """
    named: list[str | None] = [store_uri] if isinstance(store_uri, str) else list(store_uri or ())
    uris = tuple(dict.fromkeys(resolve_store_uri(uri) for uri in named or [None]))
    if method is not None and snapshot is not None:
        raise InputError(
            "--method and --snapshot exclude each other: a snapshot has its methods; leave one out"
        )
    if snapshot is not None and (len(uris) > 1 or separate):
        raise InputError("--snapshot goes with one --store and without --separate: it says what is in it")
    return partial(_load, uris, method, snapshot, separate)


@cache
def _load(
    uris: tuple[str, ...],
    method: str | None,
    snapshot: str | None,
    separate: bool,
    settings: GraphSettings,
    targets: tuple[str, ...],
) -> Dataset:
    from model.data.dataset import Dataset
    from model.graphs.cache import GraphCache

    if snapshot is not None:
        found = Dataset.from_snapshot(uris[0], snapshot, targets, settings=settings, cache=GraphCache())
    else:
        methods = None if method is None else [method]
        found = Dataset.from_store(
            uris, targets, settings=settings, methods=methods, separate=separate, cache=GraphCache()
        )
    if found.skipped:
        first = found.skipped[0]
        LOG.warning("%d labelled slabs are left out; the first: %s", len(found.skipped), first)
    if line := excluded_line(found.excluded):
        LOG.warning("%s", line)
    return found


class TrainingProgress:
    """Shows one or many trainings on a `ProgressBar`: loss, and time left.

    Parameters
    ----------
    bar
        The bar.
    """

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._began = monotonic()
        self._trained = 0.0
        bar.show("reading slabs")

    def member(self, members: int) -> Callable[[int, Progress], None]:
        """Return a callback for a run with so many members."""

        def tell(number: int, line: Progress) -> None:
            self._show("", number / members, 1 / members, line)

        return tell

    def step(self, step: Step) -> None:
        """Show where an ablation is: its callback."""
        name = f"{step.number + 1}/{step.total} {step.run.label()}, "
        if step.line is None:
            self._bar.show("training", step.number, step.total, name.rstrip(", "), count="")
            return
        members = step.run.members
        self._show(
            name,
            (step.number + step.member / members) / step.total,
            1 / (step.total * members),
            step.line,
        )

    def _show(self, name: str, before: float, share: float, line: Progress) -> None:
        """Show an epoch of a part that began at `before` and makes up `share` of the whole."""
        done = before + share * line.epoch.epoch / line.epochs
        # by the trainings of this call alone: finished runs that were only read cost no time
        self._trained += share / line.epochs
        # after the last epoch come trees, calibration and errors: half a minute with thousands of slabs
        last = line.epoch.epoch == line.epochs
        at = "finishing" if last else f"epoch {line.epoch.epoch}/{line.epochs}"
        loss = f"loss {sum(line.epoch.loss.values()):.3f}, val {line.epoch.score:.3f}"
        left = 0.0 if last and done > 0.999 else (1 - done) / self._trained * (monotonic() - self._began)
        self._bar.show("training", done, 1.0, f"{name}{at}, {loss}", count=f"{done:.0%}", seconds_left=left)
