"""List every symmetric slab of a crystal and write each as a POSCAR; no store and no DFT are needed.

    python examples/cut_slabs.py MgZn2 C14 slabs/

Without arguments: MgAg in the B2 structure, not written. `mgsurf slabs` does the same, and reads CIF and
POSCAR files too.
"""

import sys
from pathlib import Path

from workflows.structures.naming import format_miller
from workflows.structures.prototypes import structure_for
from workflows.structures.slabs import SlabSettings, enumerate_slabs

formula, prototype = sys.argv[1:3] if len(sys.argv) > 2 else ("MgAg", "B2")
folder = Path(sys.argv[3]) if len(sys.argv) > 3 else None

bulk = structure_for(formula, prototype)
for facet in enumerate_slabs(bulk, SlabSettings(max_miller_index=1, min_thickness=10.0, vacuum=15.0)):
    plane = format_miller(facet.miller_index)
    if facet.reason:
        print(f"{plane:8} {facet.reason}")
    for slab in facet.slabs:
        print(
            f"{plane:8} {slab.termination_label:8} {slab.n_layers:3d} layers {len(slab.structure):4d} atoms "
            f"{slab.thickness:6.2f} A thick, layers from the surface inward {slab.termination_key}"
        )
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{formula}_{plane.strip('()')}_{slab.termination}_{slab.termination_label}.vasp"
            slab.structure.to(str(folder / name), fmt="poscar")
