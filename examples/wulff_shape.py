"""Build the Wulff shape of a compound and average its facets by area.

    python examples/wulff_shape.py [STORE] [FORMULA]

By default MgAg in the store that `make quickstart` made. `mgsurf plot wulff` draws the same shape.
"""

import sys

import mgsurf
from stores.errors import MgsurfError

uri = sys.argv[1] if len(sys.argv) > 1 else "sqlite:///quickstart/mgsurf.sqlite"
formula = sys.argv[2] if len(sys.argv) > 2 else "MgAg"

try:
    with mgsurf.open_store(uri) as store:
        shape = mgsurf.wulff(store, formula)
except MgsurfError as error:
    sys.exit(str(error))
if shape.shape is None:
    sys.exit(shape.reason)
for facet, share in zip(shape.facets, shape.area_fractions, strict=True):
    print(f"{facet.miller_index} {facet.label:6} {100 * share:5.1f} %  {facet.surface_energy:.4f} eV/A^2")
print(f"weighted surface energy {shape.surface_energy:.4f} eV/A^2, shape factor {shape.shape_factor:.2f}")
if shape.work_function is None:
    print(shape.reason)
else:
    print(f"weighted work function {shape.work_function:.3f} eV")
