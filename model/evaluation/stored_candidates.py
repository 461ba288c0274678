"""Predictions for the candidates of a store, kept with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model.evaluation.prediction import Candidate, check_predicts_slabs, predict_slabs
from model.graphs.cache import GraphCache, graph_key
from model.graphs.slab_frame import PlainSlab
from stores.learning.candidates import candidates_by_id, update_candidates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.evaluation.prediction import SlabPrediction
    from model.training.ensemble import Ensemble
    from stores.surfaces import SurfaceStore

    Document = dict[str, Any]

_AT_ONCE = 5000
"""Predicted and written in one go: what an interruption costs at most, but for the graphs, which stay."""

_LOOKED_AT = 64
"""Candidates that tell whether graphs must be built, for which other processes are worth starting."""

_DIGITS = 6  # significant digits that are kept


def predict_candidates(
    store: SurfaceStore,
    ensemble: Ensemble,
    version: str,
    ids: Sequence[str],
    *,
    workers: int = 1,
    cache: GraphCache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Predict candidates and keep the numbers with them; those done before an interruption stay.

    Parameters
    ----------
    version
        Name of the model that is kept with its numbers.
    ids
        Of the candidates.
    workers, cache
        See `predict_slabs`; the user's own cache if None.
    progress
        Called with the number of candidates done and how many there are.

    Returns
    -------
    int
        How many the model could not take; they keep the reason as a warning, and no numbers.

    Raises
    ------
    InputError
        If the model was trained on bulk crystals only.
    """
    check_predicts_slabs(ensemble)
    cache = cache or GraphCache()
    # a potential takes a hundred times as long as a graph: then other processes are always worth it
    if workers > 1 and not ensemble.graph_settings.potential and _mostly_built(store, ensemble, ids, cache):
        workers = 1
    n_refused = 0
    for start in range(0, len(ids), _AT_ONCE):
        documents = {
            document["id"]: document
            for document in candidates_by_id(store, ids[start : start + _AT_ONCE], with_slabs=True)
        }

        def tell(done: int, start: int = start) -> None:
            if progress is not None:
                progress(start + done, len(ids))

        found, refused = predict_slabs(
            ensemble, map(_candidate, documents.values()), workers=workers, cache=cache, progress=tell
        )
        for prediction in found:
            documents[prediction.name] |= {"model": version, **_numbers(prediction)}
        for refusal in refused:
            nothing: Document = {
                "predictions": {},
                "distance": None,
                "place": [],
                "warnings": [refusal.reason],
            }
            documents[refusal.name] |= {"model": version, **nothing}
        n_refused += len(refused)
        update_candidates(store, list(documents.values()))
    return n_refused


def _mostly_built(store: SurfaceStore, ensemble: Ensemble, ids: Sequence[str], cache: GraphCache) -> bool:
    sample = [ids[i] for i in np.unique(np.linspace(0, len(ids) - 1, _LOOKED_AT).astype(int))] if ids else []
    documents = candidates_by_id(store, sample, with_slabs=True)
    keys = {graph_key(_plain_slab(document["slab"]), ensemble.graph_settings) for document in documents}
    return 2 * len(cache.get(keys)) > len(keys)


def _plain_slab(arrays: Document) -> PlainSlab:
    return PlainSlab(
        np.array(arrays["numbers"], dtype=np.int64),
        np.array(arrays["lattice"], dtype=np.float64),
        np.array(arrays["fractional"], dtype=np.float64).reshape(-1, 3),
    )


def _candidate(document: Document) -> Candidate:
    return Candidate(
        name=document["id"],
        slab=_plain_slab(document["slab"]),
        formula=document["formula"],
        termination=document["termination_label"],
        lattice_is_guess=document["lattice_is_guess"],
    )


def _numbers(prediction: SlabPrediction) -> Document:
    return {
        "predictions": {
            name: {
                "value": _short(value),
                "sigma": _short(prediction.sigmas[name]),
                "shared": _short(prediction.shared.get(name, np.nan)),
            }
            for name, value in prediction.values.items()
        },
        "distance": _short(prediction.distance),
        "place": [round(x, 4) for x in prediction.place],
        "warnings": list(prediction.warnings),
    }


def _short(value: float) -> float | None:
    """Return a number with few digits; JSON knows neither NaN nor infinity."""
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
