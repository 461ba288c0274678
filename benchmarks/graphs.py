"""Slab graphs: ours against the recipe that CGCNN came with, CPU time on one core, in one run.

The recipe asks pymatgen for all neighbours within 12 A of every atom (`Structure.get_all_neighbors(12)`),
sorts them in Python and keeps 12; its time is taken on some of the slabs only, for it is slow.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.graphs [slabs.json.gz]
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.graphs --bulk ../shared/data/bulk_properties/*.json.gz
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

from benchmarks.compounds import CRYSTALS
from model.data.import_crystals import read_crystals
from model.data.import_formats import Labelled, read_shared
from model.graphs.bulk_graph import PlainBulk, bulk_graphs
from model.graphs.cache import GraphCache, graph_key
from model.graphs.graph import GraphSettings, build_graph
from model.graphs.slab_frame import PlainSlab, slab_frame
from model.graphs.thickness import NoRepeatError, find_motion
from model.training.presets import PRESETS
from workflows.structures.slabs import SlabSettings, enumerate_slabs


def shared_slabs(path: Path) -> list[Structure]:
    rows = [row for row in read_shared(path, None).rows if isinstance(row, Labelled)]
    return [Structure(r.slab.lattice, r.slab.numbers.tolist(), r.slab.fractional) for r in rows]


def own_slabs() -> list[Structure]:
    bulks = [
        Structure.from_spacegroup(group, lattice, [e for e, _ in sites], [place for _, place in sites])
        for group, lattice, sites in CRYSTALS.values()
    ]
    facets = [
        f for bulk in bulks for f in enumerate_slabs(bulk, SlabSettings(min_thickness=20.0, max_atoms=400))
    ]
    return [slab.structure for facet in facets for slab in facet.slabs]


def original_recipe(structure: Structure) -> list[list[tuple[float, int]]]:
    neighbours = structure.get_all_neighbors(12.0, include_index=True)
    ordered = [sorted(near, key=lambda site: site[1]) for near in neighbours]
    return [[(site[1], site[2]) for site in near[:12]] for near in ordered]


def timed(function: Callable[[Any], object], items: list[Any]) -> float:
    """Return CPU milliseconds for each item."""
    start = time.process_time()
    for item in items:
        function(item)
    return (time.process_time() - start) * 1000 / len(items)


BATCH = 200  # crystals built at once, as in `model.graphs.cache.build_graphs`


def bulk(paths: list[Path], sample: int) -> None:
    """Time the graphs of bulk crystals."""
    for path in paths:
        rows = [row for row in read_crystals(path, ["label"], ()).rows if isinstance(row, Labelled)]
        crystals = [PlainBulk(r.slab.numbers, r.slab.lattice, r.slab.fractional) for r in rows]
        some = crystals[:: max(len(crystals) // sample, 1)]
        structures = [Structure(c.lattice, c.numbers.tolist(), c.fractional) for c in some]
        theirs = timed(original_recipe, structures)
        batches = [crystals[i : i + BATCH] for i in range(0, len(crystals), BATCH)]
        atoms = np.mean([len(c.numbers) for c in crystals])
        line = f"{path.name:24} {len(crystals):5} crystals of {atoms:4.1f} atoms; recipe {theirs:6.2f} ms"
        for name in ("sem-cgcnn", "best"):
            graphs = PRESETS[name].graph
            each = timed(lambda part, graphs=graphs: bulk_graphs(part, graphs), batches)
            each *= len(batches) / len(crystals)
            line += f", {name} {each:.2f} ms ({1000 / each:.0f} a second)"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, help="slabs.json.gz; else slabs made here")
    parser.add_argument("--bulk", nargs="+", type=Path, metavar="FILE", help="lists of crystals instead")
    parser.add_argument("--sample", type=int, default=100, help="slabs given to the original recipe")
    arguments = parser.parse_args()
    if arguments.bulk:
        bulk(arguments.bulk, arguments.sample)
        return
    slabs = shared_slabs(arguments.path) if arguments.path else own_slabs()
    sample = slabs[:: max(len(slabs) // arguments.sample, 1)]
    atoms = [float(np.mean([len(s) for s in some])) for some in (slabs, sample)]
    print(f"{len(slabs)} slabs of {atoms[0]:.1f} atoms; {len(sample)} of {atoms[1]:.1f} for the recipe")

    build_graph(slabs[0])  # imports and first calls are nobody's time
    original_recipe(sample[0])
    theirs, ours = timed(original_recipe, sample), timed(build_graph, sample)
    print(f"original recipe      {theirs:8.2f} ms a slab")
    print(f"ours, same slabs     {ours:8.2f} ms a slab; {theirs / ours:.0f} times faster")

    paper, best = GraphSettings(), GraphSettings(whole_shells=True, fold=True, min_thickness=30.0)
    print(f"ours, all slabs      {timed(build_graph, slabs):8.2f} ms a slab")
    folded = [build_graph(s, GraphSettings(whole_shells=True, fold=True)) for s in sample]
    whole = [build_graph(s, GraphSettings(whole_shells=True)) for s in sample]
    print(f"thickened and folded {timed(lambda s: build_graph(s, best), sample):8.2f} ms a slab")
    nodes = sum(g.n_nodes for g in whole) / sum(g.n_nodes for g in folded)
    edges = sum(g.n_edges for g in whole) / sum(g.n_edges for g in folded)
    print(f"folding leaves a graph with {nodes:.1f} times fewer nodes and {edges:.1f} times fewer edges")

    plain = [PlainSlab.from_structure(s) for s in slabs]
    with tempfile.TemporaryDirectory() as folder:
        cache = GraphCache(Path(folder) / "graphs.sqlite")
        keys = [graph_key(slab, paper) for slab in plain]
        cache.put({key: build_graph(s) for key, s in zip(keys, slabs, strict=True)})
        start = time.process_time()
        cache.get([graph_key(slab, paper) for slab in plain])
        print(f"from the cache       {(time.process_time() - start) * 1000 / len(slabs):8.2f} ms a slab")
        print(f"cache                {cache.path.stat().st_size / len(slabs) / 1024:8.1f} kB a slab")

    refused = 0
    for s in slabs:
        try:
            find_motion(slab_frame(s))
        except NoRepeatError:
            refused += 1
    print(f"slabs that do not show their crystal: {refused}")


if __name__ == "__main__":
    sys.exit(main())
