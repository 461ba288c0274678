"""Build the Wulff shape of a compound and average its facets by area.

    python examples/wulff_shape.py [STORE] [FORMULA]

By default MgAg in the store that `make quickstart` made. `mgsurf plot wulff` draws the same shape.
"""

import sys

from stores.connections import open_store
from stores.structures.document import structure_from_document
from workflows.analysis.wulff import facets_from_records, wulff

uri = sys.argv[1] if len(sys.argv) > 1 else "sqlite:///quickstart/mgsurf.sqlite"
formula = sys.argv[2] if len(sys.argv) > 2 else "MgAg"

with open_store(uri, must_exist=True) as store:
    bulk = next(store.query({"formula": formula}, collection="bulks", limit=1), None)
    if bulk is None:
        sys.exit(f"no {formula} in {store.uri}; it holds {', '.join(store.distinct('formula'))}")
    # One bulk record stands for one crystal and one method, so nothing is mixed.
    records = list(store.query({"bulk_id": bulk["id"]}))

shape = wulff(structure_from_document(bulk["structure"], bulk["id"]), facets_from_records(records))
if shape.shape is None:
    sys.exit(shape.reason)
for facet, share in zip(shape.facets, shape.area_fractions, strict=True):
    print(f"{facet.miller_index} {facet.label:6} {100 * share:5.1f} %  {facet.surface_energy:.4f} eV/A^2")
print(f"weighted surface energy {shape.surface_energy:.4f} eV/A^2, shape factor {shape.shape_factor:.2f}")
if shape.work_function is None:
    print(shape.reason)
else:
    print(f"weighted work function {shape.work_function:.3f} eV")
