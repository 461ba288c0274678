"""Reading CIF files: `mgsurf import`, the other commands, and pymatgen's parser on the same slabs."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymatgen.core import Structure


def main() -> None:
    """Write slabs as CIF files without symmetry and read them in turns, three ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=1000, help="files")
    parser.add_argument("--rounds", type=int, default=3, help="the median is shown")
    parser.add_argument("--smoke", action="store_true", help="seconds, to see that it runs")
    arguments = parser.parse_args()
    number, rounds = (20, 1) if arguments.smoke else (arguments.number, arguments.rounds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        atoms = write_slabs(folder, number)
        ways: dict[str, Callable[[Path], int]] = {
            "mgsurf import": imported,
            "slabs, predict, run, enumerate": read,
            "pymatgen CifParser": parsed,
        }
        for way in ways.values():
            way(folder)  # imports and the file cache
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                start = time.process_time()
                if way(folder) != number:
                    raise SystemExit(f"{name}: not every file was read")
                seconds[name].append(time.process_time() - start)
    print(f"{number} files, {atoms} atoms, medians of {rounds} rounds (CPU)")
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        ratio = medians["pymatgen CifParser"] / median
        print(f"{name:32s} {median:7.2f} s {1000 * median / number:7.2f} ms a file, ratio {ratio:5.1f}")


def write_slabs(folder: Path, number: int) -> int:
    """Write a folder as CGCNN has it, by pymatgen's CifWriter; return the number of atoms."""
    from pymatgen.io.cif import CifWriter

    slabs = _slabs()
    lines = []
    for i in range(number):
        slab = slabs[i % len(slabs)].copy()
        slab.scale_lattice(slab.volume * (1 + 1e-3 * (i // len(slabs))))
        (folder / f"slab{i}.cif").write_text(str(CifWriter(slab)))
        lines.append(f"slab{i},0.05,4.1")
    (folder / "id_prop.csv").write_text("\n".join(lines) + "\n")
    return sum(len(slabs[i % len(slabs)]) for i in range(number))


def _slabs() -> list[Structure]:
    from pymatgen.core import Structure

    from benchmarks.compounds import CRYSTALS
    from workflows.structures.slabs import SlabSettings, enumerate_slabs

    found = []
    for group, lattice, sites in CRYSTALS.values():
        crystal = Structure.from_spacegroup(group, lattice, [e for e, _ in sites], [at for _, at in sites])
        for facet in enumerate_slabs(crystal, SlabSettings(max_miller_index=1, min_thickness=10)):
            found += [slab.structure for slab in facet.slabs[:2]]
    return found


def imported(folder: Path) -> int:
    """Read the folder as `mgsurf import` does."""
    from model.data.import_formats import Labelled, read_cgcnn

    return sum(isinstance(row, Labelled) for row in read_cgcnn(folder, ["gamma", "phi"]).rows)


def read(folder: Path) -> int:
    """Read and check every file as all other commands do."""
    from stores.structures.reading import read_all, structure_files

    return sum(len(read_all(path)) for path in structure_files(folder))


def parsed(folder: Path) -> int:
    """Read every file with pymatgen's parser."""
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sum(len(CifParser(path).parse_structures(primitive=False)) for path in folder.glob("*.cif"))


if __name__ == "__main__":
    main()
