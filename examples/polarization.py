"""Draw polarization curves of Mg with second phases by galvcalc, from what `mgsurf screen` exports.

    mgsurf screen phases/ Mg.cif --export galvcalc phases.json
    python examples/polarization.py phases.json [FIGURE.png]

Needs galvcalc: pip install galvcalc==1.0.2 (MIT). The exported file gives the equilibrium potential of Mg and
the work functions of facets. Adsorption energies of hydrogen, areas and transfer coefficients are those that
galvcalc brings for nine second phases; its kinetics were fitted at an ion concentration of 1 mol/L.
"""

import csv
import json
import logging
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

try:
    import GalvCalc
    from GalvCalc.cathode import ic0_mg
    from GalvCalc.core.structures import Bulk
    from GalvCalc.polarization import PolarizationCurvePlotter, mg_second_phase_example
except ImportError:
    sys.exit("galvcalc is not installed; pip install galvcalc==1.0.2")

if len(sys.argv) < 2:
    sys.exit(__doc__)
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # galvcalc asks for Times New Roman
figure = Path(sys.argv[2] if len(sys.argv) > 2 else "polarization.png")
phases = {phase["formula"]: phase for phase in json.loads(Path(sys.argv[1]).read_text())["phases"]}
if "Mg" not in phases:
    sys.exit(f"{sys.argv[1]} holds no Mg, the anode; screen a crystal of Mg too")

# adsorption free energies (eV) of all sites of one or two facets of each phase
table = Path(GalvCalc.__file__).parent / "examples" / "adsorption_analysis.csv"
energies = defaultdict(lambda: defaultdict(list))
for row in csv.DictReader(table.open()):
    energies[row["formula"]][row["miller_index"]].append(float(row["Eads"]))

potential = Bulk.get_equilibrium_potential(**{**phases["Mg"]["dissolution"], "ion_con": 1})
systems = []
for system in mg_second_phase_example():
    if system.name not in phases:
        continue
    phase = phases[system.name]
    facets = {facet["Facet"].removesuffix("_1"): facet for facet in phase["facets"]}
    known = [facets[plane] for plane in energies[system.name] if plane in facets]
    # of the facets with adsorption energies the most stable; where mgsurf has none of them, the average
    facet = min(known, key=lambda one: one["Surface_energy"], default=None)
    plane = facet["Facet"].removesuffix("_1") if facet else next(iter(energies[system.name]))
    work_function = facet["Work_function"] if facet else phase["work_function"]
    current = max(ic0_mg(energy, work_function) for energy in energies[system.name][plane])
    matrix, second = system.cathodes
    anode = replace(system.anode, equilibrium_potential=potential)
    cathodes = [matrix, replace(second, exchange_current=current)]
    systems.append(replace(system, anode=anode, cathodes=cathodes))
    print(
        f"{system.name:8} ({plane}) work function {work_function:.2f} eV, "
        f"exchange current {current:.1e} A/cm2"
    )
if not systems:
    sys.exit(f"{sys.argv[1]} holds none of {', '.join(s.name for s in mg_second_phase_example())}")
plotter = PolarizationCurvePlotter(reference_electrode="SHE")
drawn = plotter.plot_multiple_compositions(systems, potential_range=(-2.4, -0.6), n_points=4000)
drawn.savefig(figure, dpi=150)
print(figure)
