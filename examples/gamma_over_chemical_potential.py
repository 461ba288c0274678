"""Find which termination of each plane is stable, from Mg-rich to X-rich conditions.

    python examples/gamma_over_chemical_potential.py [STORE] [FORMULA]

By default MgAg in the store that `make quickstart` made. `mgsurf plot phase` draws the lines.
"""

import sys
from collections import defaultdict

import mgsurf
from stores.errors import MgsurfError

N_POINTS = 5

uri = sys.argv[1] if len(sys.argv) > 1 else "sqlite:///quickstart/mgsurf.sqlite"
formula = sys.argv[2] if len(sys.argv) > 2 else "MgAg"

try:
    with mgsurf.open_store(uri) as store:
        bulk = next(store.query({"formula": formula}, collection="bulks", limit=1), None)
        if bulk is None:
            sys.exit(f"no {formula} in {store.uri}; it holds {', '.join(store.distinct('formula'))}")
        usable = {
            "bulk_id": bulk["id"],
            "verdicts.surface_energy.status": "accepted",
            "chemical_potential_window": {"$ne": None},
        }
        planes = defaultdict(list)
        for record in store.query(usable, sort={"miller_index": 1, "termination": 1}):
            planes[tuple(record["miller_index"])].append(record)
except MgsurfError as error:
    sys.exit(str(error))
if not planes:
    sys.exit(f"{formula} has no accepted surface energy with a chemical-potential window")

for miller_index, terminations in planes.items():
    poor, rich = terminations[0]["chemical_potential_window"]  # eV: X-rich, Mg-rich
    print(f"{formula} {miller_index}")
    for i in range(N_POINTS):
        dmu = rich + (poor - rich) * i / (N_POINTS - 1)
        # gamma is a straight line: the stored value is that at dmu = 0
        gamma = {
            record["termination_label"]: record["surface_energy"] + record["surface_energy_slope"] * dmu
            for record in terminations
        }
        stable = min(gamma, key=gamma.__getitem__)
        values = "  ".join(f"{label} {value:.4f}" for label, value in gamma.items())
        print(f"  dmu(Mg) = {dmu:7.3f} eV   {values} eV/A^2   stable: {stable}")
