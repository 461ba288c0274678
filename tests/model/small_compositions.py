"""A data set of Mg alloys that needs no store: a quantity, three classes, and a numeric column."""

from __future__ import annotations

import numpy as np

from model.compositions.composition import PlainComposition
from model.data.dataset import Dataset, Entry

CLASSES = ("crystal", "ribbon", "bulk")
OTHERS = {13: "Al", 29: "Cu", 30: "Zn", 39: "Y", 47: "Ag", 50: "Sn"}


def small_compositions(n: int = 120, *, extras: bool = False, seed: int = 0) -> Dataset:
    """Alloys of Mg with one or two other elements; some lack the quantity or the column."""
    rng = np.random.default_rng(seed)
    entries = []
    for i in range(n):
        chosen = np.sort(rng.choice(list(OTHERS), 1 + i % 2, replace=False))
        shares = rng.uniform(0.05, 0.25, len(chosen))
        symbols = tuple(sorted(["Mg", *(OTHERS[z] for z in chosen)]))
        heat = float(rng.uniform(300, 600))
        column = [np.nan if i % 7 == 0 else heat] if extras else []
        hardness = 40 + 200 * float(shares @ chosen) / 50 + (heat / 20 if extras else 0)
        copper = float(shares[chosen == 29].sum())
        place = 0 if copper == 0 else 1 if copper < 0.15 else 2
        entries.append(
            Entry(
                record_id=f"alloy-{i:03d}",
                graph=PlainComposition(  # type: ignore[arg-type]  # stands where structures have graphs
                    np.array([12, *chosen]), np.array([1 - shares.sum(), *shares]), np.array(column)
                ),
                targets={"hardness": None if i % 5 == 0 else hardness, "glass": float(place)},
                formula="".join(symbols),
                chemsys="-".join(symbols),
                elements=symbols,
                compound=f"alloy-{i:03d}",
                group=i,
                crystal=f"alloy-{i:03d}",
            )
        )
    return Dataset(
        tuple(entries),
        ("hardness", "glass"),
        classes={"glass": CLASSES},
        extras=("heat",) if extras else (),
    )
