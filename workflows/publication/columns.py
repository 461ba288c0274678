"""What a published table has beside the items of its snapshot: details of the records that they came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.learning.snapshot_rows import Column

if TYPE_CHECKING:
    from collections.abc import Mapping

UNITS = {"surface_energy": "eV/A^2", "work_function": "eV"}
"""Of the targets of computed surfaces."""

WORDS = {
    "surface_energy": "Surface energy at the Mg-rich end of the chemical-potential window; without Mg "
    "at the end rich "
    "in reference_element; of an element its own value",
    "work_function": "Vacuum level (mean of both sides) minus the Fermi energy",
}
"""What these targets are."""

DETAIL_COLUMNS = (
    Column("record_state", "text", "unchanged; changed or removed: since the snapshot was made (no "
                                   "details then)"),
    Column("n_atoms", "integer", "Atoms in the cell"),
    Column("termination_label", "text", "Outermost atomic layer"),
    Column("method_fingerprint", "text", "Hash of all settings of the calculation, or of the source"),
    Column("source", "text", "Data set that an imported structure came from"),
    Column("source_id", "text", "Name of the structure in its source"),
    Column("geometry", "text", "Of imported slabs: as_cut or relaxed"),
    Column("surface_energy_verdict", "text", "Verdict on the surface energy, as of the publication"),
    Column("work_function_verdict", "text", "Verdict on the work function, as of the publication"),
    Column("surface_energy_x_rich", "number", "Surface energy at the other end of the window", "eV/A^2"),
    Column("surface_energy_slope", "number", "Change of the surface energy with the chemical "
                                             "potential", "1/A^2"),
    Column("chemical_potential_min", "number", "Lower end of the window, relative to the element's "
                                               "bulk", "eV"),
    Column("chemical_potential_max", "number", "Upper end of the window, relative to the element's "
                                               "bulk", "eV"),
    Column("reference_element", "text", "Element whose chemical potential this is; Mg where it is empty"),
    Column("work_function_bottom", "number", "Work function of the bottom side", "eV"),
    Column("work_function_top", "number", "Work function of the top side", "eV"),
    Column("energy", "number", "Total energy of the relaxed slab", "eV"),
    Column("bulk_energy", "number", "Energy of the bulk in the facet's cell, per reduced formula", "eV"),
    Column("formation_energy", "number", "Formation energy of the bulk, per reduced formula", "eV"),
    Column("total_magnetization", "number", "Magnetic moment of the slab", "Bohr magneton"),
    Column("spacegroup_number", "integer", "Of the relaxed bulk"),
    Column("n_layers", "integer", "Atomic layers in the slab"),
    Column("thickness", "number", "From the lowest to the highest atom, as cut", "A"),
    Column("vacuum", "number", "From the highest atom to the next image, as cut", "A"),
    Column("area", "number", "Of one side of the slab", "A^2"),
    Column("largest_displacement", "number", "Of a free atom on relaxing, over its nearest-neighbour "
                                             "distance"),
    Column("bonds_changed", "number", "Share of the surface atoms' bonds that relaxing broke or formed"),
)  # fmt: skip
"""Missing where the record has changed or is gone; they are no part of the snapshot."""

_OF_SURFACES = (
    "method_fingerprint", "n_layers", "thickness", "vacuum", "area", "spacegroup_number", "energy",
    "bulk_energy", "formation_energy", "total_magnetization", "reference_element",
)  # fmt: skip


def details_of(document: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the details of a stored record whose values and slab are those of the item."""
    if item["kind"] == "labels":
        geometry = document.get("geometry", "")
        hkl = document.get("miller_index") or (None, None, None)
        return {
            "method_fingerprint": document["method_fingerprint"],
            "source": document["source"],
            "source_id": document["source_id"],
            "geometry": geometry if geometry in ("as_cut", "relaxed") else None,
            "termination_label": document.get("termination"),
            **dict(zip("hkl", hkl, strict=True)),
        }
    found = {name: document.get(name) for name in _OF_SURFACES}
    found["termination_label"] = document["termination_label"]
    for target, verdict in document["verdicts"].items():
        found[f"{target}_verdict"] = verdict["status"]
    if "surface_energy" in item["targets"]:
        found["surface_energy_x_rich"] = document.get("surface_energy_x_rich")
        found["surface_energy_slope"] = document.get("surface_energy_slope")
        if window := document.get("chemical_potential_window"):
            found["chemical_potential_min"], found["chemical_potential_max"] = window
    if "work_function" in item["targets"] and (sides := document.get("work_function_sides")):
        found["work_function_bottom"], found["work_function_top"] = sides
    if change := document.get("reconstruction"):
        found["largest_displacement"] = change["displacement"]
        found["bonds_changed"] = change["bonds_changed"]
    return found
