"""Candidates: choosing among 100,000, keeping and reading them, predicting from cached graphs.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.acquisition [slabs.json.gz] [--slabs 1000]

CPU seconds of this process. The networks are untrained, which costs the same; without a file the slabs are
cut here. Predictions are of `--slabs` slabs and scaled to 10,000.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.graphs import own_slabs, shared_slabs
from benchmarks.prediction import untrained
from model.evaluation.stored_candidates import predict_candidates
from model.graphs.cache import GraphCache
from model.selection.acquisition import STRATEGIES, choose
from model.selection.improvement import Objective
from model.selection.pool import Known, Pool, pool_of
from stores.connections import open_store
from stores.learning.candidates import CandidateRecord, PackedSlab, add_candidates, candidate_documents

BATCHES = (20, 200)


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def made_up(n: int, facets: int = 20) -> tuple[Pool, Known]:
    """Candidates of n / facets compounds as a model sees them, and 3,000 known slabs."""
    rng = np.random.default_rng(0)
    compound = np.arange(n) % max(1, n // facets)
    places = rng.normal(size=(compound.max() + 1, 16))[compound] + 0.1 * rng.normal(size=(n, 16))
    mean = np.column_stack([rng.normal(0.05, 0.015, n), rng.normal(3.9, 0.35, n)])
    sigma = rng.uniform(0.5, 1.5, (n, 1)) * np.array([0.006, 0.12])
    values = np.column_stack([rng.normal(0.05, 0.015, 3000), rng.normal(3.9, 0.35, 3000)])
    return Pool.of(mean, sigma, places, rng.uniform(1, 50, n)), Known(values, rng.normal(size=(3000, 16)))


def choices(n: int) -> None:
    pool, known = made_up(n)
    objective = Objective((1, 0), (1.0, -1.0))
    print(f"\nchoosing among {n:,}: CPU s".ljust(40) + "".join(f"batch of {b}".rjust(16) for b in BATCHES))
    for strategy in STRATEGIES:
        for per_cost in (False, True):
            ask = partial(
                choose, pool, strategy=strategy, known=known, objective=objective, per_cost=per_cost
            )
            seconds = [cpu(partial(ask, batch))[0] for batch in BATCHES]
            name = strategy + (" per cost" if per_cost else "")
            print(name.ljust(39) + "".join(f"{s:16.2f}" for s in seconds), flush=True)


def candidate(number: int, slab: PackedSlab, **changes: Any) -> CandidateRecord:
    values: dict[str, Any] = {
        "id": f"{number:024x}", "campaign": "benchmark", "formula": f"Mg{number // 20}", "chemsys": "Ag-Mg",
        "spacegroup_number": 221, "bulk_key": f"{number // 20:024x}", "bulk_id": "", "lattice_is_guess": True,
        "miller_index": (1, 1, 0), "termination_label": "Mg", "termination_key": f"Mg1|Ag1#{number % 20}",
        "method_fingerprint": "gpaw-demo-0123456789abcdef", "n_layers": 7, "n_atoms": len(slab.numbers),
        "volume": 900.0, "kpoints": (6, 6, 1), "slab": slab,
    }  # fmt: skip
    return CandidateRecord(**{**values, **changes})


def storing(n: int, folder: Path) -> None:
    rng = np.random.default_rng(0)
    slab = PackedSlab(
        numbers=[12, 47] * 20,
        lattice=np.diag([4.123456, 5.123456, 28.123456]).tolist(),
        fractional=np.round(rng.random((40, 3)), 6).tolist(),
    )
    numbers = {"value": 0.051234, "sigma": 0.0061234}
    more = {
        "model": "v1", "distance": 0.51234, "place": np.round(rng.normal(size=16), 4).tolist(),
        "predictions": {"surface_energy": numbers, "work_function": numbers},
    }  # fmt: skip
    with open_store(f"sqlite:///{folder}/candidates.sqlite") as store:
        written, _ = cpu(lambda: add_candidates(store, (candidate(i, slab, **more) for i in range(n))))
        read, documents = cpu(lambda: list(candidate_documents(store)))
        arrays, _ = cpu(lambda: pool_of(documents, ("surface_energy", "work_function"), [1.0] * n))
    size = sum(file.stat().st_size for file in folder.glob("candidates.sqlite*"))
    print(f"\n{n:,} candidates of 40 atoms in SQLite: {size / n / 1000:.1f} kB each")
    print(
        f"write {written:.1f} s, read without slabs {read:.1f} s, into arrays {arrays:.1f} s (CPU)",
        flush=True,
    )


def predicting(data: Path | None, n: int, folder: Path) -> None:
    slabs = shared_slabs(data) if data else own_slabs()
    slabs = (slabs * (n // len(slabs) + 1))[:n]
    packed = [
        PackedSlab(
            numbers=[int(z) for z in s.atomic_numbers],
            lattice=np.round(s.lattice.matrix, 6).tolist(),
            # a little different, so that each has a graph of its own
            fractional=np.round(s.frac_coords + np.array([0, 0, 1e-6 * i]), 6).tolist(),
        )
        for i, s in enumerate(slabs)
    ]
    ids = [f"{i:024x}" for i in range(n)]
    cache = GraphCache(folder / "graphs.sqlite")
    atoms = sum(len(p.numbers) for p in packed) / n
    print(f"\npredicting candidates ({atoms:.0f} atoms on average): CPU s for 10,000")
    with open_store(f"sqlite:///{folder}/predicted.sqlite") as store:
        add_candidates(store, [candidate(i, slab) for i, slab in enumerate(packed)])
        for preset in ("sem-cgcnn", "best"):
            for members in (1, 5):
                ensemble = untrained(preset, members)
                if members == 1:
                    cpu(lambda e=ensemble: predict_candidates(store, e, "first", ids, cache=cache))
                seconds, _ = cpu(lambda e=ensemble: predict_candidates(store, e, "v1", ids, cache=cache))
                what = f"{preset}, {members} network{'s' if members > 1 else ''}, graphs cached"
                print(f"{what:<39}{seconds / n * 10_000:16.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, help="slabs.json.gz; else slabs cut here")
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--slabs", type=int, default=1000)
    options = parser.parse_args()
    choices(options.candidates)
    with tempfile.TemporaryDirectory() as folder:
        storing(options.candidates, Path(folder))
        predicting(options.data, options.slabs, Path(folder))


if __name__ == "__main__":
    main()
