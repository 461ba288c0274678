"""A registered model, its history, a round and a screening, for the pages about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stores.learning.candidates import CandidateRecord, PackedSlab, Predicted, add_candidates
from stores.learning.history import ChosenSlab, Round, begin_refresh, begin_round, write_refresh
from stores.learning.model_card import ModelFacts
from stores.learning.registry import ModelRegistry
from stores.learning.screenings import ScreenedFacet, ScreeningRecord, keep_screenings
from stores.records import content_hash
from workflows.analysis.dissolution import dissolution


def errors(mae):
    part = {"n": 40, "mae": mae, "rmse": 1.4 * mae, "r2": 0.91, "mape": 4.0}
    return {
        "train": {**part, "n": 320, "mae": mae / 2},
        "val": part,
        "test": part,
        "coverage_90": 0.88,
        "macro_mae": 1.1 * mae,
        "by_element": {
            name: {"n": n, "mae": mae * factor, "rmse": mae, "r2": None, "mape": None}
            for name, n, factor in (("Mg", 40, 1.0), ("Ag", 9, 0.6), ("Eu", 3, 2.4), ("La", 7, 1.3))
        },
    }


def facts(label="sem-cgcnn, random, seed 0", mae=0.11):
    return ModelFacts(
        label=label,
        snapshot="5f" * 16,
        targets=("surface_energy", "work_function"),
        elements=("Ag", "Eu", "La", "Mg"),
        members=5,
        sizes={"train": 320, "val": 40, "test": 40},
        metrics={"random": {"surface_energy": errors(mae / 30), "work_function": errors(mae)}},
        seconds=812.0,
        code_version="0.1 (1a2b)",
    )


def candidate(number, surface, bulk, phi, model="v2"):
    """The candidate that a surface was before it was computed."""
    return CandidateRecord(
        id=surface.id,
        campaign="quickstart",
        formula=surface.formula,
        chemsys=surface.chemsys,
        spacegroup_number=surface.spacegroup_number,
        bulk_key=bulk.bulk_key,
        bulk_id=bulk.id,
        lattice_is_guess=False,
        miller_index=surface.miller_index,
        termination_label=surface.termination_label,
        termination_key=surface.termination_key,
        method_fingerprint=surface.method_fingerprint,
        n_layers=5,
        n_atoms=5 + number,
        volume=200.0,
        kpoints=(4, 4, 1),
        slab=PackedSlab(numbers=[12], lattice=[[3, 0, 0], [0, 3, 0], [0, 0, 20]], fractional=[[0, 0, 0]]),
        model=model,
        predictions={
            "surface_energy": Predicted(value=(surface.surface_energy or 0.04) + 0.002, sigma=0.003),
            "work_function": Predicted(value=phi, sigma=0.1),
        },
        warnings=["Eu not in the training set"] if number == 1 else [],
    )


def screened(formula, phi, gamma, formation, number, **changes):
    """A screened compound; its potential follows from the formation energy (eV/atom)."""
    from pymatgen.core import Composition

    amounts = {str(k): v for k, v in Composition(formula).get_el_amt_dict().items()}
    found = dissolution(amounts, formation)
    facets = [
        ScreenedFacet(
            miller_index=plane,
            termination="Mg",
            surface_energy=gamma,
            surface_energy_sigma=0.002,
            work_function=phi,
            work_function_sigma=0.1,
            source=source,
            area_fraction=share,
            appears=1.0,
        )
        for plane, share, source in (((1, 0, 0), 0.62, "dft"), ((1, 1, 0), 0.38, "model"))
    ]
    values = {
        "id": content_hash([formula, number], 24),
        "inputs": "a",
        "label": f"{formula} (B2)",
        "formula": formula,
        "bulk_key": f"key-{number}",
        "spacegroup_number": 221,
        "spacegroup_symbol": "Pm-3m",
        "lattice": [[3.3, 0, 0], [0, 3.3, 0], [0, 0, 3.3]],
        "species": ["Mg", "Ag"],
        "positions": [[0, 0, 0], [0.5, 0.5, 0.5]],
        "settings": {"temperature": 298.15, "concentration": 1e-6},
        "model": "v2",
        "surface_energy": gamma,
        "surface_energy_sigma": 0.002,
        "work_function": phi,
        "work_function_sigma": 0.08,
        "facets": facets,
        "potential": found.potential,
        "cations": [str(cation) for cation in found.cations],
        "formation_energy": formation,
        "screened_at": datetime(2026, 11, 1, tzinfo=UTC),
    }
    return ScreeningRecord(**{**values, **changes})


SCREENED = (
    ("MgAg", 3.70, 0.045, -0.20), ("MgPd", 3.95, 0.060, -0.55), ("MgLa", 3.05, 0.040, -0.12),
    ("MgSc", 3.60, 0.062, -0.06), ("MgZn2", 3.92, 0.043, -0.13), ("Mg2Ni", 3.98, 0.075, -0.20),
    ("MgY", 3.20, 0.045, -0.10), ("MgCe", 3.10, 0.042, -0.11), ("MgAu", 4.30, 0.050, -0.60),
    ("MgCu2", 4.15, 0.070, -0.14), ("Mg2Si", 4.55, 0.065, -0.18), ("Mg2Sn", 4.05, 0.041, -0.22),
)  # fmt: skip


def learn(store, records):
    """Register two models, decide about them, choose a round and screen some compounds."""
    bulk = records.bulk()
    surfaces = [s for s in records.quickstart_surfaces() if s.formula == "MgAg"]
    registry = ModelRegistry(store)
    for number, mae in enumerate((0.14, 0.11), start=1):
        card, _ = registry.add(facts(mae=mae), {"a.pt": bytes([number])})
        entry = begin_refresh(store, "5f" * 16, {"preset": "best"})
        entry.version, entry.outcome = card.version, "promoted"
        entry.reason, entry.finished = f"MAE of the work function {mae} eV on the hold-out", True
        write_refresh(store, entry)
        registry.promote(card.version, entry.reason)
    known = [candidate(n, s, bulk, (s.work_function or 4.0) + 0.05 * n) for n, s in enumerate(surfaces)]
    new = known[0].model_copy(
        update={"id": "new", "miller_index": (2, 1, 0), "termination_key": "x", "termination_label": "Ag"}
    )
    add_candidates(store, [*known, new])
    chosen = [
        ChosenSlab(
            bulk_key=c.bulk_key, miller_index=c.miller_index, termination_key=c.termination_key, reason=why
        )
        for c, why in ((new, "expected improvement 0.12 eV"), (known[1], "most uncertain work function"))
    ]
    one = Round(
        id="quickstart-1", campaign="quickstart", number=1, strategy="improvement", model="v2", slabs=chosen,
        core_hours=3.2, chosen_at=datetime.now(UTC) - timedelta(hours=2),
    )  # fmt: skip
    begin_round(store, one)
    found = [screened(*values, number) for number, values in enumerate(SCREENED)]
    semiconductors = ("Mg2Si", "Mg2Sn")
    found = [
        one.model_copy(
            update={
                "semiconductor": "a gap of 0.2 eV" if one.formula in semiconductors else "",
                "unseen_elements": ["Au"] if one.formula == "MgAu" else [],
            }
        )
        for one in found
    ]
    keep_screenings(store, [*found, screened("Mg", 3.66, 0.034, 0.0, 99, cations=["Mg2+"], label="Mg (A3)")])
