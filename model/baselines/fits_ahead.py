"""Trees and processes fitted while networks train, which do not need them before they are blended."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

import numpy as np

from model.baselines.blend import training_rows
from model.baselines.candidates import FitSettings
from model.baselines.unseen_elements import Folds, fit_trees_ahead
from model.data.model_input import kind_of
from model.network.convolution import edge_threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model.data.dataset import Dataset


THREAD = "fits ahead"


@contextmanager
def fitting_ahead(train_part: Dataset, names: Sequence[str], trees: int, seed: int) -> Iterator[None]:
    """Fit trees and processes to a training set in a thread, piece by piece.

    `model.baselines.recent_fits` keeps the pieces for `model.baselines.kinds.fit_by_kind`, which computes
    what is missing when the context ends, and reports what cannot be computed. With one thread nothing is
    done ahead. To be used in a part that is `model.network.convolution.repeatable`, as that fit is.

    Parameters
    ----------
    train_part
        All labelled inputs that trees and processes will see.
    names
        Targets that are quantities.
    trees, seed
        See `model.baselines.blend.DescriptorModels.fit`.
    """
    stopped = Event()
    # a daemon, so that an interrupted training ends at once
    thread = Thread(
        target=_fit_pieces, args=(train_part, names, trees, seed, stopped), name=THREAD, daemon=True
    )
    if trees and names and edge_threads() > 1:
        thread.start()
    try:
        yield
    except Exception:  # not BaseException: after Ctrl-C nothing is waited for
        stopped.set()
        if thread.is_alive():
            thread.join()
        raise
    finally:
        stopped.set()


def _fit_pieces(train_part: Dataset, names: Sequence[str], trees: int, seed: int, stopped: Event) -> None:
    """Fit until all is done or the others need it; errors are those of the fit that follows."""
    kinds = np.array([kind_of(entry.graph) for entry in train_part])
    try:
        for kind in sorted(set(kinds.tolist())):
            part = train_part.subset(np.flatnonzero(kinds == kind).tolist())
            rows = training_rows(part, names, kind)
            folds = Folds.of(part) if kind == "slab" else None
            for name in names:
                if not stopped.is_set():
                    FitSettings.of(kind, name, rows, trees, seed).fit(rows, rows.labels[name])
                if folds is not None and not stopped.is_set():
                    fit_trees_ahead(rows, name, folds, seed)
    except BaseException:  # noqa: BLE001 -- `fit_by_kind` meets it again, or it was Ctrl-C while that fitted
        return
