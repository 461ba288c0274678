"""Trees and processes for a data set that may hold slabs and bulk crystals: each kind has its own.

Networks see both kinds, descriptors are of one. Trees and processes do not need the networks before they are
blended: where there are several threads, one fits them while the networks train.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from model.baselines.blend import Blended, DescriptorModels, training_rows
from model.baselines.candidates import FitSettings
from model.baselines.columns import DESCRIPTIONS
from model.baselines.unseen_elements import Folds, fit_trees_ahead
from model.data.model_input import kind_of
from model.network.convolution import edge_threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from model.baselines.carried_rows import LabelledRows
    from model.data.dataset import Dataset
    from model.data.model_input import ModelInput

    Array = NDArray[np.float64]
    Places = NDArray[np.intp]

THREAD = "fits ahead"


def fit_by_kind(
    train_part: Dataset,
    val_part: Dataset,
    networks: dict[str, Array],
    trees: int,
    seed: int,
    folds: NDArray[np.intp],
    carried: Mapping[str, LabelledRows],
    sources: tuple[Array, Array] | None = None,
) -> tuple[dict[str, DescriptorModels], dict[str, Array]]:
    """Fit the trees and process of each kind that both sets have; see `DescriptorModels.fit`.

    carried: by kind.
    """
    found: dict[str, DescriptorModels] = {}
    held_out: dict[str, Array] = {}
    training, validation = (_places([e.graph for e in part]) for part in (train_part, val_part))
    for kind in training.keys() & validation.keys():
        places = validation[kind]
        found[kind], own = DescriptorModels.fit(
            train_part.subset(training[kind].tolist()),
            val_part.subset(places.tolist()),
            {name: values[places] for name, values in networks.items()},
            trees,
            seed,
            folds[places],
            kind,
            carried.get(kind),
            None if sources is None else (sources[0][training[kind]], sources[1][places]),
        )
        for name, rows in own.items():
            whole = held_out.setdefault(name, np.tile(networks[name], (int(folds.max()) + 1, 1)))
            whole[:, places] = rows[-1]  # of a fold without structures of this kind
            whole[: len(rows), places] = rows
    return found, held_out


@contextmanager
def fitting_ahead(train_part: Dataset, names: Sequence[str], trees: int, seed: int) -> Iterator[None]:
    """Fit trees and processes to a training set in a thread, piece by piece.

    `model.baselines.recent_fits` keeps the pieces for `fit_by_kind`, which computes what is missing when the
    context ends, and reports what cannot be computed. With one thread nothing is
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
    try:
        for kind, places in _places([entry.graph for entry in train_part]).items():
            part = train_part.subset(places.tolist())
            rows = training_rows(part, names, kind)
            folds = Folds.of(part) if kind == "slab" else None
            for name in names:
                if not stopped.is_set():
                    FitSettings.of(kind, name, rows, trees, seed).fit(rows, rows.labels[name])
                if folds is not None and not stopped.is_set():
                    fit_trees_ahead(rows, name, folds, seed)
    except BaseException:  # noqa: BLE001 -- `fit_by_kind` meets it again, or it was Ctrl-C while that fitted
        return


def predict_by_kind(
    models: Mapping[str, DescriptorModels],
    networks: dict[str, Array],
    graphs: Sequence[ModelInput],
    sources: Array | None = None,
) -> Blended:
    """Blend the networks' predictions [n] by target for graphs [n] with what their kinds have beside them.

    sources: [n, S], see `DescriptorModels.predict`.
    """
    n = len(graphs)
    whole = Blended({name: values.copy() for name, values in networks.items()}, {})
    trained = None
    for kind, places in _places(graphs).items():
        if kind not in models:
            continue
        blended = models[kind].predict(
            {name: values[places] for name, values in networks.items()},
            graphs if len(places) == n else [graphs[i] for i in places],
            None if sources is None else sources[places],
        )
        for part, absent in (("mean", 0.0), ("deviation", 0.0), ("sigma", np.nan), ("correlation", 0.0)):
            for name, values in getattr(blended, part).items():
                getattr(whole, part).setdefault(name, np.full(n, absent))[places] = values
        if blended.trained is not None:
            trained = np.zeros(n, dtype=bool)
            trained[places] = blended.trained
    return Blended(whole.mean, whole.deviation, whole.sigma, whole.correlation, trained)


def state_of_kinds(models: Mapping[str, DescriptorModels]) -> dict[str, Any]:
    """Return tensors and numbers for a file: those of slabs at the top, as before there were others."""
    others = {kind: one.state() for kind, one in models.items() if kind != "slab"}
    return {**(models["slab"].state() if "slab" in models else {}), **others}


def kinds_from_state(state: dict[str, Any]) -> dict[str, DescriptorModels]:
    """Read `state_of_kinds`; raises InputError if its parts do not fit together."""
    others = DESCRIPTIONS.keys() - {"slab"}
    found = {kind: DescriptorModels.from_state(state[kind], kind) for kind in others & state.keys()}
    if not found or state.keys() - others:
        found["slab"] = DescriptorModels.from_state(state)
    return found


def _places(graphs: Sequence[ModelInput]) -> dict[str, Places]:
    """Where the graphs of each kind are."""
    kinds = np.array([kind_of(graph) for graph in graphs])
    return {kind: np.flatnonzero(kinds == kind) for kind in sorted(set(kinds.tolist()))}
