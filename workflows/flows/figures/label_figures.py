"""Figures of labels and of screened compounds: 1a, 6b and S1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.flows.figures.inputs import Drawn, MissingDataError, partner_elements

if TYPE_CHECKING:
    from workflows.flows.figures.inputs import FigureInputs

GAMMA, PHI = "surface_energy", "work_function"


def joint_density(inputs: FigureInputs) -> Drawn:
    """Figure 1a: joint density of surface energy and work function."""
    from workflows.report.paper.distributions import joint_density, joint_density_figure

    both = [slab for slab in inputs.slabs if GAMMA in slab.targets and PHI in slab.targets]
    if not both:
        raise MissingDataError(f"no slab of {inputs.store} has both labels; mgsurf import adds such slabs")
    gamma, phi = ([slab.targets[name] for slab in both] for name in (GAMMA, PHI))
    x, y, density = joint_density(gamma, phi)
    return Drawn(
        joint_density_figure(gamma, phi, (x, y, density)),
        {
            "": [
                {"record_id": slab.record_id, "formula": slab.formula, GAMMA: slab.targets[GAMMA],
                 PHI: slab.targets[PHI]}
                for slab in both
            ],
            "_density": [
                {GAMMA: float(a), PHI: float(b), "density": float(density[j, i])}
                for i, a in enumerate(x)
                for j, b in enumerate(y)
            ],
        },
        (f"{len(both)} slabs with both labels",),
    )  # fmt: skip


def distributions(inputs: FigureInputs) -> Drawn:
    """Figure S1: distributions of labels, atoms per slab and elements."""
    from model.evaluation.element_vectors import mendeleev_number
    from workflows.report.paper.distributions import distribution_figure

    slabs = inputs.slabs
    symbols = partner_elements([slab.composition for slab in slabs])
    counts = {symbol: sum(symbol in slab.composition for slab in slabs) for symbol in symbols}
    labels = {name: [s.targets[name] for s in slabs if name in s.targets] for name in (GAMMA, PHI)}
    atoms = [sum(slab.composition.values()) for slab in slabs]
    systems = len({slab.chemsys for slab in slabs})
    return Drawn(
        distribution_figure(labels, atoms, list(counts.items())),
        {
            "": [
                {"record_id": s.record_id, "formula": s.formula, "chemsys": s.chemsys, "atoms": n,
                 GAMMA: s.targets.get(GAMMA), PHI: s.targets.get(PHI)}
                for s, n in zip(slabs, atoms, strict=True)
            ],
            "_elements": [
                {"element": symbol, "mendeleev_number": mendeleev_number(symbol), "slabs": n}
                for symbol, n in counts.items()
            ],
        },
        (f"{len(slabs)} slabs of {systems} chemical systems, {min(atoms)} to {max(atoms)} atoms",),
    )  # fmt: skip


def potentials(inputs: FigureInputs) -> Drawn:
    """Figure 6b: dissolution potential against Wulff-weighted work function."""
    from workflows.report.screening import flat_row, potential_figure
    from workflows.report.style import DOUBLE_COLUMN

    records = inputs.screenings
    known = [r for r in records if r.potential is not None and r.work_function is not None]
    if not known:
        raise MissingDataError(
            f"{inputs.store} has no screened compound with a potential and a work function; mgsurf screen "
            "INPUTS --formation-energies FILE.csv screens compounds into the store"
        )
    return Drawn(
        potential_figure(known, width=DOUBLE_COLUMN),
        {"": [flat_row(record) for record in known]},
        (f"{len(known)} of {len(records)} screened compounds have both values",),
        takes_title=False,
    )
