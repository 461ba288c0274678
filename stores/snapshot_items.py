"""Items of snapshots: the values and the slab of one record, named by their content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.labelled import LabelledSlab
from stores.method import content_hash

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stores.surfaces import SurfaceStore

AT_ONCE = 500
"""Items that are read or written together."""


def compact_slab(slab: LabelledSlab) -> dict[str, Any]:
    """Return the atoms and the cell of a slab, to the last digit, and nothing else.

    Returns
    -------
    dict
        ``species`` [N], ``lattice`` [3, 3] (A) and ``fractional`` [N, 3].

    Raises
    ------
    InputError
        If the record holds no ordered structure.
    """
    try:
        structure = slab.slab or {}
        species = []
        for site in structure["sites"]:
            (only,) = site["species"]
            if only.get("occu", 1) != 1:
                raise ValueError("shared sites")
            species.append(str(only["element"]))
        return {
            "species": species,
            "lattice": [[float(x) for x in row] for row in structure["lattice"]["matrix"]],
            "fractional": [[float(x) for x in site["abc"]] for site in structure["sites"]],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The slab of record {slab.record_id} is no ordered structure ({error}); remove the record or "
            "import it again."
        ) from error


def item_of(slab: LabelledSlab, values: dict[str, float]) -> dict[str, Any]:
    """Return what is kept of a record whose slab is compact already."""
    item = {
        "record_id": slab.record_id,
        "kind": slab.kind,
        "targets": values,
        "method": slab.method,
        "formula": slab.formula,
        "chemsys": slab.chemsys,
        "composition": slab.composition,
        "compound": slab.compound,
        "same": None if slab.same is None else [slab.same[0], list(slab.same[1]), slab.same[2]],
        "slab_hash": content_hash(slab.slab),
    }
    return {"id": content_hash(item), **item, "slab": slab.slab}


def is_whole(item: dict[str, Any] | None) -> bool:
    """Say whether an item is there and holds what its name says."""
    if item is None or not item.get("slab"):
        return False
    plain = {name: value for name, value in item.items() if name not in ("id", "slab")}
    return bool(item["id"] == content_hash(plain)) and item["slab_hash"] == content_hash(item["slab"])


def slab_of(item: dict[str, Any]) -> LabelledSlab:
    """Return the labelled slab that an item was made of."""
    compact, same = item["slab"], item["same"]
    structure = {
        "lattice": {"matrix": compact["lattice"]},
        "sites": [
            {"species": [{"element": symbol, "occu": 1}], "abc": place}
            for symbol, place in zip(compact["species"], compact["fractional"], strict=True)
        ],
    }
    return LabelledSlab(
        record_id=item["record_id"],
        kind=item["kind"],
        slab=structure,
        targets=item["targets"],
        method=item["method"],
        formula=item["formula"],
        chemsys=item["chemsys"],
        composition=item["composition"],
        compound=item["compound"],
        same=None if same is None else (same[0], tuple(same[1]), same[2]),
    )


def read_items(store: SurfaceStore, hashes: Iterable[str], *, with_slabs: bool) -> dict[str, dict[str, Any]]:
    """Return items by hash; those that are not there are left out."""
    wanted = list(hashes)
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(wanted), AT_ONCE):
        among = {"id": {"$in": wanted[start : start + AT_ONCE]}}
        properties = None if with_slabs else {"slab": 0}
        for item in store.collection("snapshot_items").query(among, properties):
            found[item["id"]] = item
    return found
