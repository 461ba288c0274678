"""A small store of compositions: Mg alloys with a quantity, classes and a numeric column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.data.label_records import composition_record
from stores.connections import open_store
from stores.labelled import add_labels

if TYPE_CHECKING:
    from stores.labelled import LabelRecord

CLASSES = {"glass": ["no", "yes"]}


def record(fractions: dict[str, float], source: str = "alloys", **values) -> LabelRecord:
    """Record of a composition; `values` are its targets, ``extras`` its numeric columns."""
    total = sum(fractions.values())
    return composition_record(
        {symbol: share / total for symbol, share in fractions.items()},
        values.pop("extras", {}),
        values,
        units={name: "HV" for name in values if name not in CLASSES},
        classes={name: CLASSES[name] for name in values if name in CLASSES} or None,
        source=source,
        unit="at%",
    )


def fill(uri: str, records: list[LabelRecord]) -> None:
    with open_store(uri) as store:
        add_labels(store, records)


def ternaries(n: int = 60) -> list[LabelRecord]:
    """Alloys of Mg with two of six elements; hardness and class follow from the composition."""
    others = ("Ag", "Al", "Cu", "Ni", "Y", "Zn")
    found = []
    for i in range(n):
        one, other = others[i % 6], others[(i + 1 + (i // 6) % 5) % 6]
        a, b = 5 + (7 * i) % 31, 5 + (11 * i) % 23
        hardness = 40.0 + 3 * a + (20 if one == "Cu" else 0)
        found.append(
            record({"Mg": 100 - a - b, one: a, other: b}, hardness=hardness, glass=float(a + b > 30))
        )
    return found
