"""Candidates as a campaign leaves them in a store."""

from __future__ import annotations

from stores.learning.candidates import CandidateRecord, PackedSlab, Predicted


def candidate(record, name, **changes):
    slab = PackedSlab(numbers=[12], lattice=[[3, 0, 0], [0, 3, 0], [0, 0, 20]], fractional=[[0, 0, 0.5]])
    values = {
        "id": name, "campaign": "c", "formula": record.formula, "chemsys": record.chemsys,
        "spacegroup_number": record.spacegroup_number, "bulk_key": "b2", "bulk_id": record.bulk_id,
        "lattice_is_guess": False, "miller_index": record.miller_index,
        "termination_label": record.termination_label, "termination_key": record.termination_key,
        "method_fingerprint": record.method_fingerprint, "n_layers": 5, "n_atoms": 5, "volume": 200.0,
        "kpoints": (4, 4, 1), "slab": slab, "model": "v3", "distance": 0.4,
        "predictions": {"surface_energy": Predicted(value=0.0384, sigma=0.002)}, **changes,
    }  # fmt: skip
    return CandidateRecord(**values)
