"""Rank the compounds of a store by their Wulff-weighted work function and dissolution potential.

    python examples/screen.py [STORE]

By default the store that `make quickstart` made. `mgsurf screen` does the same for campaigns, lock files and
crystals, with a model for facets that nobody computed, and draws the ranking.
"""

import sys

from stores.connections import open_store
from stores.errors import MgsurfError
from workflows.flows.screening.compounds import compounds_of, with_formation_energies
from workflows.flows.screening.ranking import rank
from workflows.flows.screening.screening import ScreeningSettings, screen

uri = sys.argv[1] if len(sys.argv) > 1 else "sqlite:///quickstart/mgsurf.sqlite"

problems: list[str] = []
compounds = compounds_of([uri], problems.append)
if not compounds:
    sys.exit("\n".join(problems))
try:
    with open_store(uri, must_exist=True) as store:
        compounds = with_formation_energies(compounds, store, {}, "")
        records = screen(compounds, store, None, "", ScreeningSettings())
except MgsurfError as error:
    sys.exit(str(error))
for record in rank(records):
    phi = "unknown" if record.work_function is None else f"{record.work_function:.3f} eV"
    potential = "unknown" if record.potential is None else f"{record.potential:.2f} V"
    print(f"{record.formula:8} work function {phi}, dissolves at {potential} against SHE")
    for reason in record.reasons:
        print(f"         {reason}")
