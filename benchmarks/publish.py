"""CPU time and memory of `mgsurf publish` and of the import of what it wrote.

    python -m benchmarks.publish [--records 100000] [--surfaces]

A store of imported slabs, or with --surfaces of computed ones (relaxed slab, planar potential), is made
in a temporary folder, a snapshot of it published and imported into another store. Each step runs in a process
of its own, whose CPU seconds and largest memory are printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ATOMS = 30
AT_ONCE = 1000


def slab(number: int) -> dict[str, Any]:
    from pymatgen.core import Lattice, Structure

    a = 3.0 + number % 1000 / 1000
    places = [[0.5 * (i % 2), 0.5 * (i % 2), 0.2 + 0.6 * i / ATOMS] for i in range(ATOMS)]
    species = ["Mg" if i % 2 else ("Ag", "Pd", "Zn", "Al")[number % 4] for i in range(ATOMS)]
    plain: dict[str, Any] = Structure(Lattice.tetragonal(a, 40.0), species, places).as_dict(verbosity=0)
    return plain


def labels(count: int) -> Iterator[dict[str, Any]]:
    from stores.labelled import LabelRecord, source_fingerprint
    from stores.records import content_hash

    for number in range(count):
        partner = ("Ag", "Pd", "Zn", "Al")[number % 4]
        yield LabelRecord(
            id=content_hash(["label", number]),
            source="benchmark",
            source_id=f"slab-{number}",
            method_fingerprint=source_fingerprint("benchmark"),
            formula=f"Mg{partner}",
            chemsys="-".join(sorted(("Mg", partner))),
            composition={"Mg": ATOMS // 2, partner: ATOMS // 2},
            n_atoms=ATOMS,
            compound=f"Mg{partner} 18.200",
            slab=slab(number),
            geometry="as_cut",
            targets={"surface_energy": 0.03 + number % 997 / 1e4, "work_function": 3.5 + number % 991 / 1e3},
            units={"surface_energy": "eV/A^2", "work_function": "eV"},
            miller_index=(1, number % 2, 0),
        ).model_dump(mode="json")


def surfaces(count: int) -> Iterator[dict[str, Any]]:
    from stores.records import Method, PlanarPotential, Provenance, SurfaceRecord, Verdict, content_hash

    method = Method(engine="benchmark", preset="demo", functional="PBE", cutoff=300.0, k_density=4.0,
                    smearing="fermi-dirac", smearing_width=0.1, force_tolerance=0.05)  # fmt: skip
    accepted = Verdict(status="accepted")
    heights = [0.1 * i for i in range(200)]
    for number in range(count):
        partner = ("Ag", "Pd", "Zn", "Al")[number % 4]
        structure = slab(number)
        yield SurfaceRecord(
            id=content_hash(["surface", number]),
            formula=f"Mg{partner}",
            chemsys="-".join(sorted(("Mg", partner))),
            method=method,
            method_fingerprint=method.fingerprint,
            bulk_id=content_hash(["bulk", number // 20]),
            provenance=Provenance(source="prototype", identifiers=["B2"]),
            spacegroup_number=221,
            miller_index=(1, number % 2, 0),
            termination=number % 2,
            termination_label="Mg",
            termination_key=f"{number}",
            cut=0.0,
            period=3.3,
            n_layers=15,
            n_atoms=ATOMS,
            composition={"Mg": ATOMS // 2, partner: ATOMS // 2},
            thickness=12.0,
            vacuum=15.0,
            area=10.0,
            slab=structure,
            relaxed_slab=structure,
            energy=-90.0,
            bulk_energy=-6.0,
            surface_energy=0.03 + number % 997 / 1e4,
            surface_energy_x_rich=0.04,
            work_function=3.5 + number % 991 / 1e3,
            work_function_sides=(3.5, 3.5),
            potential=PlanarPotential(z=heights, potential=[float(x % 7) for x in heights]),
            verdicts={"surface_energy": accepted, "work_function": accepted},
        ).model_dump(mode="json")


def fill(folder: Path, count: int, computed: bool) -> None:
    from itertools import islice

    from stores.connections import open_store
    from stores.learning.snapshots import create_snapshot

    kind, made = ("surfaces", surfaces(count)) if computed else ("labels", labels(count))
    with open_store(f"sqlite:///{folder / 'a.sqlite'}") as store:
        while part := list(islice(made, AT_ONCE)):
            store.collection(kind).upsert(part)
        create_snapshot(store)


def publish(folder: Path) -> None:
    from stores.connections import open_store
    from stores.learning.snapshots import list_snapshots
    from workflows.publication.publish import publish as write
    from workflows.publication.terms import Terms

    with open_store(f"sqlite:///{folder / 'a.sqlite'}", must_exist=True) as store:
        (snapshot,) = list_snapshots(store)
        write(store, snapshot.id, folder / "dataset", Terms.parse("", ["Ada Lovelace"], "CC-BY-4.0"))


def read_back(folder: Path) -> None:
    from model.data.import_publication import import_publication

    import_publication(folder / "dataset", f"sqlite:///{folder / 'b.sqlite'}")


def measured(name: str, step: Callable[..., None], *arguments: Any) -> None:
    """Run a step in a process of its own; print CPU and wall seconds and its largest memory."""
    context = multiprocessing.get_context("spawn")
    answers: Any = context.Queue()
    process = context.Process(target=_measure, args=(answers, step, arguments))
    process.start()
    process.join()
    cpu, wall, memory = answers.get(timeout=1)
    print(f"{name:<10} {cpu:7.1f} s CPU {wall:7.1f} s wall {memory / 1e9:6.2f} GB", flush=True)


def _measure(answers: Any, step: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    began, cpu = time.monotonic(), time.process_time()
    step(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answers.put((time.process_time() - cpu, time.monotonic() - began, peak))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--surfaces", action="store_true")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mgsurf-publish-"))
    try:
        measured("fill", fill, folder, arguments.records, arguments.surfaces)
        measured("publish", publish, folder)
        files = [path.stat().st_size for path in (folder / "dataset").rglob("*") if path.is_file()]
        print(f"{len(files)} files, {sum(files) / 1e9:.2f} GB")
        for path in sorted((folder / "dataset").iterdir()):
            if path.is_file():
                print(f"  {path.name:<24} {path.stat().st_size / 1e6:8.1f} MB")
        measured("import", read_back, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
