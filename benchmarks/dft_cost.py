"""What reuse of wave functions and a pre-relaxation by CHGNet save, in SCF and ionic steps and CPU seconds.

Real slabs, cut from bulks that GPAW relaxed, all with GPAW on one core. Finished calculations stay in the
folder of --work-dir: an interrupted run resumes, a second one prints its tables at once.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from stores.records import CalculationOutput
    from workflows.engines.gpaw.engine import GPAWEngine
    from workflows.structures.slabs import SymmetricSlab

# Name: compound, prototype (None: the element's ground state), plane, outermost layer.
SLABS: dict[str, tuple[str, str | None, tuple[int, int, int], str]] = {
    "Mg (10-10)": ("Mg", None, (1, 0, 0), "Mg-a"),
    "MgAg (100) Mg": ("MgAg", "B2", (1, 0, 0), "Mg"),
    "MgAg (110)": ("MgAg", "B2", (1, 1, 0), "MgAg"),
    "MgPd (100) Pd": ("MgPd", "B2", (1, 0, 0), "Pd"),
}
ANEW = "--scf-anew"


@dataclass
class Cost:
    """What a calculation cost: SCF steps in all, geometries, CPU seconds of its one process."""

    scf: int
    ionic: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slabs", nargs="+", choices=SLABS, default=list(SLABS), metavar="NAME")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--work-dir", type=Path, default=Path("dft_cost"))
    parser.add_argument("--no-chgnet", action="store_true", help="leave out what needs the extra forcefields")
    options = parser.parse_args()
    from workflows.jobs.pre_relaxation import check_installed

    if not options.no_chgnet:
        check_installed("chgnet")
    work_dir = options.work_dir.absolute()
    rows: list[dict[str, Any]] = []
    for name in options.slabs:
        rows.append(measure(name, options.preset, work_dir, not options.no_chgnet))
    report(rows)
    for row in rows:  # last, for it costs most
        row["anew"] = relax_scf_anew(row["folder"] / "relax", step_folder(row["folder"], "relax SCF anew"))
    report(rows)


def measure(name: str, preset: str, work_dir: Path, chgnet: bool) -> dict[str, Any]:
    """Run everything for one slab, or read it from its folder."""
    from workflows.engines.gpaw.engine import GPAWEngine
    from workflows.jobs.pre_relaxation import pre_relax
    from workflows.structures.layers import free_atoms

    engine = GPAWEngine(preset=preset, ranks=1)
    slab = cut(name, engine, work_dir)
    structure, mesh = slab.structure, engine.kpoints(slab.structure, slab=True)
    free = free_atoms(structure)
    base = work_dir / "-".join(re.findall(r"[A-Za-z0-9]+", f"{name} {preset}"))
    kept = engine.relax_slab(structure, free, mesh, step_folder(base, "relax"))
    row: dict[str, Any] = {
        "name": name,
        "folder": base,
        "atoms": len(structure),
        "free": sum(free),
        "relax": cost(kept),
        "start_force": start_force(base / "relax", free),
    }
    end = _structure(kept)
    if chgnet:
        folder = step_folder(base, "relax from CHGNet")
        before = os.times()
        start, told = pre_relax(structure, free, 0.1, folder, name)
        spent = os.times()
        told_file = folder / "told.json"
        if not told_file.exists():  # only the run that did the work knows its price
            seconds = spent.children_user + spent.children_system
            seconds -= before.children_user + before.children_system
            told_file.write_text(json.dumps({**told, "cpu_time": seconds or told["seconds"]}))
        output = engine.relax_slab(start, free, mesh, folder)
        row |= {
            "chgnet": cost(output),
            "told": json.loads(told_file.read_text()),
            "chgnet_force": start_force(folder, free),
            "energy": output.energy - kept.energy,
            "apart": largest_move(end, _structure(output)),
            "moved": largest_move(structure, end),
            "missed": largest_move(start, end),
        }
    static = engine.static_slab(end, mesh, step_folder(base, "static from scratch"))
    reused = engine.static_slab(end, mesh, step_folder(base, "static reused"), prev_dir=base / "relax")
    row |= {"static": cost(static), "reused": cost(reused)}
    return row


def cut(name: str, engine: GPAWEngine, work_dir: Path) -> SymmetricSlab:
    """Relax the bulk and cut the slab, as a campaign does."""
    from workflows.structures.elements import ground_state
    from workflows.structures.prototypes import structure_for
    from workflows.structures.slabs import enumerate_slabs

    formula, prototype, plane, label = SLABS[name]
    folder = work_dir / f"{formula}-bulk-{engine.preset}"
    folder.mkdir(parents=True, exist_ok=True)
    say(f"{formula}: bulk")
    bulk = ground_state(formula) if prototype is None else structure_for(formula, prototype)
    relaxed = _structure(engine.relax_bulk(bulk, folder))
    (facet,) = enumerate_slabs(relaxed, miller_indices=[plane])
    return next(slab for slab in facet.slabs if slab.termination_label == label)


def step_folder(base: Path, step: str) -> Path:
    say(f"{base.name}: {step}")
    path = base / step.replace(" ", "-")
    path.mkdir(parents=True, exist_ok=True)
    return path


def relax_scf_anew(earlier: Path, folder: Path) -> Cost:
    """Repeat a relaxation with every SCF started from atomic densities and orbitals."""
    task_hash = json.loads((earlier / "input.json").read_text())["task_hash"]
    from workflows.engines.worker_tasks import finished_answer

    answer = finished_answer(folder, task_hash)
    if answer is None:
        shutil.copy(earlier / "input.json", folder)
        with (folder / "worker.err").open("w") as log:
            subprocess.run(
                [sys.executable, "-P", "-m", "benchmarks.dft_cost", ANEW],
                cwd=folder,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
                stderr=log,
                check=True,
            )
        answer = finished_answer(folder, task_hash)
        assert answer is not None, folder
    return Cost(answer["scf_steps"], answer["ionic_steps"], answer["cpu_time"])


def run_worker_scf_anew() -> None:
    """Be the GPAW worker of the folder this runs in, without memory between geometries."""
    from workflows.engines.gpaw import worker as gpaw_worker

    class Forgetful(gpaw_worker.Session):
        def _compute(self, atoms: Any, properties: list[str], mesh: tuple[int, ...]) -> dict[str, Any]:
            known = self._calculators.get(mesh)
            if known is not None and not np.array_equal(known.atoms.positions, atoms.positions):
                self._calculators.clear()
            return super()._compute(atoms, properties, mesh)

    gpaw_worker.Session = Forgetful
    gpaw_worker.main()


def cost(output: CalculationOutput) -> Cost:
    assert output.status == "ok", output.reason
    return Cost(output.scf_steps or 0, output.ionic_steps or 0, output.details.get("cpu_time", 0.0))


def start_force(folder: Path, free: list[bool]) -> float:
    """Return the largest force on a free atom at the first geometry (eV/A)."""
    lines = (json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines() if line)
    first = next(line["results"]["forces"] for line in lines if "forces" in line["results"])
    return float(np.linalg.norm(np.array(first)[free], axis=1).max())


def largest_move(one: Structure, other: Structure) -> float:
    """Return the largest distance of an atom between two geometries of a cell (A)."""
    moves = other.frac_coords - one.frac_coords
    moves -= np.round(moves)
    return float(np.linalg.norm(one.lattice.get_cartesian_coords(moves), axis=1).max())


def _structure(output: CalculationOutput) -> Structure:
    from stores.structures.document import structure_from_document

    assert output.status == "ok", output.reason
    assert output.structure is not None
    return structure_from_document(output.structure, output.directory)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def report(rows: list[dict[str, Any]]) -> None:
    print("\n### The static run takes over the relaxation's last SCF")
    print("\n| slab | relaxation CPU s | static from scratch: SCF steps, CPU s | reused | saved of both |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for row in rows:
        relax, static = row["relax"], row["static"]
        share = static.seconds / (relax.seconds + static.seconds)
        print(
            f"| {row['name']} | {relax.seconds:.0f} | {static.scf}, {static.seconds:.0f} "
            f"| {row['reused'].scf}, {row['reused'].seconds:.0f} | {100 * share:.0f} % |"
        )
    report_anew([row for row in rows if "anew" in row])
    report_chgnet([row for row in rows if "chgnet" in row])
    sys.stdout.flush()


def report_anew(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    print("\n### Wave functions kept from geometry to geometry\n")
    print("| slab | atoms (free) | geometries | SCF steps, kept / from scratch | CPU s, the same | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        relax, anew = row["relax"], row["anew"]
        geometries = f"{relax.ionic}" if relax.ionic == anew.ionic else f"{relax.ionic} / {anew.ionic}"
        print(
            f"| {row['name']} | {row['atoms']} ({row['free']}) | {geometries} | {relax.scf} / {anew.scf} "
            f"| {relax.seconds:.0f} / {anew.seconds:.0f} | {anew.seconds / relax.seconds:.2f} |"
        )


def report_chgnet(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    print("\n### DFT from the as-cut slab / from CHGNet's\n")
    print(
        "| slab | first force eV/A | geometries | SCF steps | CPU s of DFT | CHGNet: steps, CPU s "
        "| ratio of CPU, CHGNet's included | largest move A | CHGNet missed A | end apart A | meV apart |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        plain, pre, told = row["relax"], row["chgnet"], row["told"]
        ratio = plain.seconds / (pre.seconds + told["cpu_time"])
        what = f"{told['steps']}, {told['cpu_time']:.0f}" + ("" if told["used"] else f" ({told['reason']})")
        print(
            f"| {row['name']} | {row['start_force']:.2f} / {row['chgnet_force']:.2f} "
            f"| {plain.ionic} / {pre.ionic} | {plain.scf} / {pre.scf} "
            f"| {plain.seconds:.0f} / {pre.seconds:.0f} | {what} | {ratio:.2f} "
            f"| {row['moved']:.3f} | {row['missed']:.3f} | {row['apart']:.3f} | {1000 * row['energy']:.1f} |"
        )


if __name__ == "__main__":
    if sys.argv[1:] == [ANEW]:
        run_worker_scf_anew()
    else:
        main()
