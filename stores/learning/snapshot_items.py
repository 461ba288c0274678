"""Items of snapshots: what is kept of a record, named by the hash of its content, and read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.labelled import LabelledSlab
from stores.records import content_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stores.surfaces import SurfaceStore


def compact_slab(slab: LabelledSlab) -> dict[str, Any]:
    """Return the atoms and the cell of a slab, to the last digit, and nothing else.

    Returns
    -------
    dict
        ``species`` [N], ``lattice`` [3, 3] (A) and ``fractional`` [N, 3]; of a composition its ``fractions``
        and ``extras`` by name.
    """
    if slab.fractions is not None:
        return {"fractions": dict(slab.fractions), "extras": dict(slab.extras)}
    return compact_structure(slab.slab or {}, slab.record_id)


def compact_structure(structure: Mapping[str, Any], record_id: str) -> dict[str, Any]:
    """Return `compact_slab` of a stored structure; an `InputError` names the record if it is disordered."""
    try:
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
            f"The slab of record {record_id} is no ordered structure ({error}); remove the record or "
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
        # only where it applies: items of slabs with quantities keep the hash that they always had
        **({"bulk": True} if slab.bulk else {}),
        **({"classes": classes} if (classes := _classes(slab, values)) else {}),
    }
    return {"id": content_hash(item), **item, "slab": slab.slab}


def _classes(slab: LabelledSlab, values: dict[str, float]) -> dict[str, list[str]]:
    return {name: list(names) for name, names in slab.classes.items() if name in values}


def is_whole(item: dict[str, Any] | None) -> bool:
    """Return whether an item is there and its content has the hash that it is named by."""
    if item is None or not item.get("slab"):
        return False
    plain = {name: value for name, value in item.items() if name not in ("id", "slab")}
    return bool(item["id"] == content_hash(plain)) and item["slab_hash"] == content_hash(item["slab"])


def slab_of(item: dict[str, Any]) -> LabelledSlab:
    """Return the labelled slab that an item was made of."""
    compact, same = item["slab"], item["same"]
    structure = None if "fractions" in compact else _structure(compact)
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
        bulk=bool(item.get("bulk")),
        classes={name: tuple(names) for name, names in item.get("classes", {}).items()},
        fractions=compact.get("fractions"),
        extras=compact.get("extras", {}),
    )


def _structure(compact: dict[str, Any]) -> dict[str, Any]:
    return {
        "lattice": {"matrix": compact["lattice"]},
        "sites": [
            {"species": [{"element": symbol, "occu": 1}], "abc": place}
            for symbol, place in zip(compact["species"], compact["fractional"], strict=True)
        ],
    }


def read_items(store: SurfaceStore, hashes: Iterable[str], *, with_slabs: bool) -> dict[str, dict[str, Any]]:
    """Return items by hash; those that are not there are left out."""
    found = store.collection("snapshot_items").by_id(hashes, None if with_slabs else {"slab": 0})
    return {item["id"]: item for item in found}
