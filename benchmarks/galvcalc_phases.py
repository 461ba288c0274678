"""Nine second phases of Mg alloys from crystal to Wulff-weighted values: mgsurf beside galvcalc, in one run.

Needs galvcalc 1.0.2 (pip install galvcalc) and a trained model. For each of the phases of galvcalc's example
of polarization curves two processes run one after the other, each of which cuts all symmetric slabs up to
Miller index 1, predicts them by its own network and averages over the Wulff shape; CPU time and peak memory
are those of the whole process. Then mgsurf averages galvcalc's facet energies and work functions over its own
Wulff shape, and galvcalc computes the equilibrium potential that mgsurf exports.

    python -m benchmarks.galvcalc_phases MODEL energies.csv
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from pymatgen.core import Lattice, Structure

from stores.connections import open_store
from stores.structures.poscar import read_poscar
from workflows.analysis.wulff_draws import Termination, weighted_values
from workflows.flows.screening.compounds import (
    ScreenedCompound,
    read_formation_energies,
    with_formation_energies,
)
from workflows.report.galvcalc import galvcalc_document
from workflows.structures.crystal import crystal_of
from workflows.structures.facets import standard_plane

_A12_MG = [("Mg", [0.356, 0.356, 0.042]), ("Mg", [0.090, 0.090, 0.278])]
_THMN12 = [[0, 0, 0], [0.25, 0.25, 0.25], [0.361, 0, 0], [0.277, 0.5, 0]]
_LAVES = [[1 / 3, 2 / 3, 0.062], [0, 0, 0], [0.830, 0.660, 0.25]]

PHASES: dict[str, tuple[str, Lattice, list[tuple[str, list[float]]]]] = {
    "Mg17Al12": (
        "I-43m",
        Lattice.cubic(10.544),
        [
            ("Mg", [0, 0, 0]),
            ("Mg", [0.324, 0.324, 0.324]),
            ("Mg", [0.3582, 0.3582, 0.0393]),
            ("Al", [0.0954, 0.0954, 0.2725]),
        ],
    ),
    "CeMg12": (
        "I4/mmm",
        Lattice.tetragonal(10.33, 5.96),
        list(zip(("Ce", "Mg", "Mg", "Mg"), _THMN12, strict=True)),
    ),
    "Mg2Si": ("Fm-3m", Lattice.cubic(6.351), [("Si", [0, 0, 0]), ("Mg", [0.25, 0.25, 0.25])]),
    "NdMg3": (
        "Fm-3m",
        Lattice.cubic(7.40),
        [("Nd", [0, 0, 0]), ("Mg", [0.5, 0.5, 0.5]), ("Mg", [0.25, 0.25, 0.25])],
    ),
    "Y5Mg24": (
        "I-43m",
        Lattice.cubic(11.278),
        [("Y", [0, 0, 0]), ("Y", [0.317, 0.317, 0.317]), *_A12_MG],
    ),
    "CaMg2": (
        "P6_3/mmc",
        Lattice.hexagonal(6.23, 10.12),
        list(zip(("Ca", "Mg", "Mg"), _LAVES, strict=True)),
    ),
    "MgZn2": ("P6_3/mmc", Lattice.hexagonal(5.22, 8.57), list(zip(("Mg", "Zn", "Zn"), _LAVES, strict=True))),
    # the interior of the slab among galvcalc's examples
    "Mg2Al3": (
        "I4_1/amd",
        Lattice.tetragonal(6.445, 19.21),
        [("Mg", [0.276, 0, 0.0434]), ("Al", [0, 0.2875, 0.8032]), ("Al", [0.5, 0.75, 0.625])],
    ),
    "LaMg12": (
        "I4/mmm",
        Lattice.tetragonal(10.364, 5.98),
        list(zip(("La", "Mg", "Mg", "Mg"), _THMN12, strict=True)),
    ),
}
"""Space group, conventional cell (A) and sites of the phases; parameters rounded."""


def crystal(name: str) -> Structure:
    """Return the conventional cell of a phase."""
    group, lattice, sites = PHASES[name]
    return Structure.from_spacegroup(group, lattice, [s for s, _ in sites], [x for _, x in sites])


def by_galvcalc(name: str) -> dict[str, Any]:
    """Cut, predict and average by galvcalc, with the settings of its example and 10 A instead of 15 A."""
    from GalvCalc.cathode import facet_dependant_property
    from GalvCalc.cathode.surfaces import SurfaceProperties
    from GalvCalc.core.structures import Bulk

    bulk = Bulk.from_sites(crystal(name).sites)
    surfaces = SurfaceProperties.from_bulk_structure(
        bulk, max_index=1, min_slab_size=10, min_vacuum_size=15, center_slab=True, symmetrize=True,
        max_normal_search=1,
    )  # fmt: skip
    table = surfaces.get_predicted_surface_properties()
    averages = facet_dependant_property()
    work_function, _ = averages.weighted_wf(table, bulk)
    facets = {
        plane: (gamma, phi) for plane, (gamma, phi, _) in averages.list2dict(table, compound=bulk)[0].items()
    }
    return {"slabs": len(surfaces.surfaces), "work_function": work_function, "facets": facets}


def by_mgsurf(name: str, model: str, energies: str) -> dict[str, Any]:
    """Cut, predict and average by mgsurf, without draws; and what it exports for galvcalc."""
    from model.training.ensemble_files import load_ensemble
    from workflows.flows.screening.screening import ScreeningSettings, screen
    from workflows.structures.slabs import SlabSettings, enumerate_slabs

    with open_store("memory://") as store:
        compound = with_formation_energies(
            [ScreenedCompound(name, crystal(name))], store, read_formation_energies(Path(energies)), energies
        )
        (record,) = screen(compound, store, load_ensemble(Path(model)), model, ScreeningSettings(draws=2))
    phase = json.loads(galvcalc_document([record])[0])["phases"][0]
    slabs = sum(len(f.slabs) for f in enumerate_slabs(compound[0].crystal, SlabSettings(1, max_atoms=None)))
    return {"slabs": slabs, **phase}


def averaged_by_mgsurf(name: str, facets: dict[str, tuple[float, float]]) -> tuple[float, float]:
    """Average galvcalc's facets over the Wulff shape of mgsurf (J/m^2, eV)."""
    from GalvCalc.cathode import facet_dependant_property

    cell = crystal_of(crystal(name))
    terminations = [
        Termination(
            standard_plane(cell, facet_dependant_property._parse_miller_index(plane)), "", gamma, 0.0, phi
        )
        for plane, (gamma, phi) in facets.items()
    ]
    found = weighted_values(cell, terminations, draws=0)
    assert found.surface_energy is not None and found.work_function is not None
    return found.surface_energy, found.work_function


def averaged_by_galvcalc(bulk: Structure, facets: dict[str, tuple[float, float]]) -> tuple[float, float]:
    """Average facets over the Wulff shape of galvcalc (J/m^2, eV)."""
    from GalvCalc.cathode import facet_dependant_property

    averages = facet_dependant_property()
    planes = [averages._parse_miller_index(plane) for plane in facets]
    gammas, phis = zip(*facets.values(), strict=True)
    weights = averages.wulff_weights(bulk, planes, gammas)
    return tuple(sum(w * v for w, v in zip(weights, values, strict=True)) / 100 for values in (gammas, phis))


def measured(*arguments: str) -> tuple[dict[str, Any], float, float]:
    """Run one step in a process of its own; return its answer, CPU time (s) and peak memory (MB)."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.galvcalc_phases", str(answer), *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{' '.join(arguments)} failed")
        found = json.loads(answer.read_text(encoding="utf-8"))
    return found, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compare(model: str, energies: str) -> None:
    """Print the phases side by side; differences are those of averages of the same facet values."""
    from GalvCalc.core.structures import Bulk

    print("          slabs  theirs      s  theirs     MB  theirs  Phi, eV  theirs  E, V")
    total = [0.0, 0.0]
    differences = [0.0, 0.0, 0.0]  # J/m^2, eV, V
    for name in PHASES:
        theirs, their_time, their_memory = measured("galvcalc", name)
        ours, our_time, our_memory = measured("mgsurf", name, model, energies)
        total = [total[0] + our_time, total[1] + their_time]
        our_facets = {
            one["Facet"].removesuffix("_1"): (one["Surface_energy"], one["Work_function"])
            for one in ours["facets"]
        }
        for facets in (theirs["facets"], our_facets):
            one = averaged_by_mgsurf(name, facets)
            other = averaged_by_galvcalc(read_poscar(ours["structure"], name, []), facets)
            differences[:2] = [max(d, abs(a - b)) for d, a, b in zip(differences, one, other, strict=False)]
        potential = ours["equilibrium_potential"]
        if potential is not None:
            with contextlib.redirect_stdout(None):
                check = Bulk.get_equilibrium_potential(**ours["dissolution"])
            differences[2] = max(differences[2], abs(potential - check))
        print(
            f"{name:9} {ours['slabs']:5} {theirs['slabs']:7} {our_time:6.1f} {their_time:7.1f} "
            f"{our_memory:6.0f} {their_memory:7.0f} {ours['work_function']:8.2f} "
            f"{theirs['work_function']:7.2f} {'-' if potential is None else f'{potential:.3f}':>6}",
            flush=True,
        )
    print(f"all: {total[0]:.1f} s, galvcalc {total[1]:.1f} s, ratio {total[1] / total[0]:.1f}")
    print("largest differences: {:.0e} J/m2, {:.0e} eV, {:.0e} V".format(*differences))


def main() -> None:
    """Compare, or run one step in the process that is measured."""
    if len(sys.argv) == 3:
        compare(*(str(Path(path).resolve()) for path in sys.argv[1:]))
        return
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    answer, program, *arguments = sys.argv[1:]
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        if program == "galvcalc":
            os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
            os.chdir(folder)  # galvcalc writes its slabs to the working folder
        found = by_galvcalc(*arguments) if program == "galvcalc" else by_mgsurf(*arguments)
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
