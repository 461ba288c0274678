"""Ask a store which facets have a low surface energy and a high work function.

    python examples/query_store.py [STORE]

STORE is a URI; by default it is the store that `make quickstart` made.
"""

import sys

import mgsurf

uri = sys.argv[1] if len(sys.argv) > 1 else "sqlite:///quickstart/mgsurf.sqlite"

# Any MongoDB filter. Verdicts tell which values may be used.
accepted = {
    "verdicts.surface_energy.status": "accepted",
    "verdicts.work_function.status": "accepted",
    "surface_energy": {"$lt": 0.08},  # eV/A^2
    "work_function": {"$gt": 3.5},  # eV
}
fields = ["formula", "miller_index", "termination_label", "surface_energy", "work_function"]

with mgsurf.open_store(uri) as store:
    for record in store.query(accepted, properties=fields, sort={"work_function": -1}):
        plane = " ".join(map(str, record["miller_index"]))
        print(
            f"{record['formula']:8} ({plane})  {record['termination_label']:6} "
            f"{record['surface_energy']:.4f} eV/A^2  {record['work_function']:.3f} eV"
        )

    rejected = store.count({"verdicts.surface_energy.status": {"$ne": "accepted"}})
    print(f"{store.count()} surfaces in the store; {rejected} surface energies are not accepted")
