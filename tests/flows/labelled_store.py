"""Stores filled with surfaces of real slabs, labelled by a rule that a network can learn."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from pymatgen.core import Structure

from model.graphs.graph import build_graph
from model.training.losses import BalanceConfig
from model.training.presets import PRESETS, OptimiserConfig
from stores.connections import open_store
from stores.records import Method, Provenance, SurfaceRecord, Verdict, Verdicts
from tests.model.small_dataset import crystal, labels_of, slabs
from workflows.flows.campaign import values as campaign_values
from workflows.flows.campaign.settings import Refresh
from workflows.structures.naming import mg_first_formula

METHOD = Method(
    engine="rule",
    preset="demo",
    functional="none",
    cutoff=1,
    k_density=1,
    smearing="none",
    smearing_width=0.0,
    force_tolerance=0.01,
)
OTHER = METHOD.model_copy(update={"preset": "other"})

TRAIN = ("MgAl", "MgSc", "Mg3Ti", "MgNi", "Mg3Cu", "Mg3Zn", "MgZr", "Mg3Pd", "MgAg", "MgSn", "MgPt", "Mg3In")
VAL = ("Mg3Al", "MgCu", "MgPd", "MgZn")
HELD = ("Mg3Er", "Mg3Ca", "Mg3Sc", "Mg3Y", "Mg3Tm", "MgLa", "MgHf", "MgTa", "MgRu", "Mg3Au", "MgTl", "Mg3Ir")
"""B2 MgX and L1_2 Mg3X by the part that `model.data.splits` gives them."""
MORE = ("MgTi", "MgCo", "Mg3Ni", "MgMo", "MgRh", "MgCd", "MgIn", "Mg3Sn", "Mg3Ag", "MgCa")
"""Others to train on."""
SLABS = 3
"""Of each compound."""


def surfaces_of(formula: str, method: Method = METHOD, shift: float = 0.0) -> list[SurfaceRecord]:
    """Return an accepted record for each slab of a compound; `shift` is added to its labels."""
    rich = formula.startswith("Mg3")
    partner = formula.removeprefix("Mg3" if rich else "Mg")
    bulk = crystal(partner, rich)
    name = mg_first_formula(bulk.composition)
    return [
        _record(name, partner, number, slab, values, method, shift)
        for number, (slab, values) in enumerate(_labelled(partner, rich))
    ]


@cache
def _labelled(partner: str, rich: bool) -> list[tuple[Structure, dict[str, float]]]:
    return [(slab, labels_of(build_graph(slab))) for slab in slabs(partner, rich)[:SLABS]]


def _record(
    name: str,
    partner: str,
    number: int,
    slab: Structure,
    values: dict[str, float],
    method: Method,
    shift: float,
) -> SurfaceRecord:
    return SurfaceRecord(
        id=f"{name}-{number}-{method.preset}",
        formula=name,
        chemsys="-".join(sorted(("Mg", partner))),
        method=method,
        method_fingerprint=method.fingerprint,
        bulk_id=f"bulk-{name}",
        provenance=Provenance(source="test"),
        spacegroup_number=221,
        miller_index=(1, 0, number),
        termination=0,
        termination_label="Mg",
        termination_key=f"{number}",
        cut=0.0,
        period=1.0,
        n_layers=5,
        n_atoms=len(slab),
        composition={str(e): int(n) for e, n in slab.composition.items()},
        thickness=10.0,
        vacuum=15.0,
        area=10.0,
        slab=slab,
        surface_energy=values["surface_energy"] + shift,
        work_function=values["work_function"] + shift,
        verdicts=Verdicts(
            surface_energy=Verdict(status="accepted"), work_function=Verdict(status="accepted")
        ),
    )


def fill(uri: str, formulas: tuple[str, ...], method: Method = METHOD, shift: float = 0.0) -> int:
    """Add the surfaces of compounds to a store; return how many."""
    records = [record for formula in formulas for record in surfaces_of(formula, method, shift)]
    with open_store(uri) as store:
        return store.add(records)


def quick_settings(**changes: object) -> Refresh:
    """Return settings of a refresh that takes a second: a preset of its own, which this makes known."""
    paper = PRESETS["sem-cgcnn"]
    PRESETS["quick"] = replace(
        paper,
        name="quick",
        graph=replace(paper.graph, max_neighbours=6),
        network=replace(
            paper.network, depth="profile", embedding=8, hidden=12, hidden_layers=1, convolutions=1
        ),
        training=replace(
            paper.training,
            epochs=25,
            batch_size=12,
            optimiser=OptimiserConfig("step", learning_rate=1e-2),
            balance=BalanceConfig("equal"),
        ),
    )
    if "quick" not in campaign_values.PRESETS:
        campaign_values.PRESETS = (*campaign_values.PRESETS, "quick")
    return Refresh(**{"preset": "quick", "min_new_records": 25, "members": 2, **changes})
