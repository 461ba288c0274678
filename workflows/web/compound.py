"""Page of one compound: Wulff shape over the chemical potential, weighted values, facets, candidates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.method_names import is_dft
from stores.verdicts import verdict_status
from workflows.analysis.dissolution import dissolution
from workflows.report.style import sort_key
from workflows.report.surface_filter import parse_formula
from workflows.web.facet import gamma_chart, reference_of
from workflows.web.pages import NotFoundError, PageRouter, one, query_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import Request

    from stores.surfaces import SurfaceStore
    from workflows.report.wulff import WulffReport

    Record = Mapping[str, Any]

MOST_FACETS = 600
"""Facets of one crystal that are read."""

MOST_CRYSTALS = 100
"""Of one formula that are listed."""

MOST_CANDIDATES = 200

STEPS = 40
"""Positions of the slider over the window of the chemical potential."""

FIELDS = (
    "id", "formula", "chemsys", "bulk_id", "method_fingerprint", "miller_index", "equivalent_planes",
    "spacegroup_number", "termination", "termination_label", "surface_energy", "surface_energy_x_rich",
    "surface_energy_slope", "chemical_potential_window", "work_function", "verdicts", "reference_element",
)  # fmt: skip
_BULK_FIELDS = (
    "id", "formula", "bulk_key", "structure", "spacegroup_number", "spacegroup_symbol", "energy_per_atom",
    "formation_energy", "method_fingerprint", "provenance", "initial_spacegroup_number",
)  # fmt: skip
_CANDIDATE_FIELDS = (
    "id", "formula", "miller_index", "termination_label", "termination_key", "spacegroup_number", "n_atoms",
    "model", "predictions", "distance", "campaign",
)  # fmt: skip

router = PageRouter()


def compound_data(store: SurfaceStore, formula: str, given: Mapping[str, list[str]]) -> dict[str, Any]:
    """Read one crystal of a formula with its Wulff shape at a chemical potential.

    Parameters
    ----------
    store
        Opened for reading.
    formula
        As stored.
    given
        ``bulk``, the id of the crystal (else the one with the most facets), ``method`` and ``dmu`` (eV).

    Returns
    -------
    dict
        ``crystals`` of this formula, ``bulk``, ``facets`` with their share of the shape, ``shape`` with the
        weighted values and faces, ``dissolution``, and ``candidates`` that are not computed.

    Raises
    ------
    NotFoundError
        If the store holds neither facets nor a crystal nor candidates of the formula.
    InputError
        If the chemical potential lies outside the window.
    """
    dmu = _dmu(one(given, "dmu"))
    name = one(given, "bulk")
    crystals = _crystals(store, formula, name)
    chosen = _chosen(crystals, name, one(given, "method"), formula)
    bulk = _bulk(store, chosen["bulk_id"]) if chosen else None
    records = _facets(store, chosen, formula) if chosen else []
    candidates = _candidates(store, formula, bulk, records)
    if not crystals and not candidates:
        raise NotFoundError(
            f"The store {store.uri} holds nothing of {formula[:80]}; it was removed or is of another store, "
            "see /facets for what is there"
        )
    report, reason = _report(records, bulk, dmu)
    colours = plane_colours(records)
    shares = _shares(records, report)
    reference = reference_of(records[0]) if records else ""
    return {
        "formula": formula,
        "crystals": crystals,
        "bulk": None if bulk is None else {k: v for k, v in bulk.items() if k != "structure"} | _cell(bulk),
        "dmu": report.potential.dmu if report else dmu,
        "window": list(report.potential.window) if report and report.potential.window else _window(records),
        "reference": reference,
        "partner": next((e for r in records for e in r["chemsys"].split("-") if e != reference), ""),
        "facets": [
            {
                "id": r["id"],
                "miller_index": r["miller_index"],
                "termination_label": r.get("termination_label", ""),
                "surface_energy": _gamma(r, report.potential.dmu if report else dmu),
                "work_function": r.get("work_function"),
                "area_fraction": shares.get(r["id"], 0.0),
                "verdicts": r.get("verdicts") or {},
                "_record": r,
                "_colour": colours[tuple(r["miller_index"])],
            }
            for r in sorted(records, key=lambda r: (-shares.get(r["id"], 0.0), sort_key(r)))
        ],
        "shape": _shape(report, colours) if report else None,
        "reason": reason,
        "notes": report.notes() if report else [],
        "dissolution": _dissolution(bulk),
        "candidates": candidates,
        "_records": records,
        "_colours": colours,
    }


def _dmu(text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        value = float(text.replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"dmu: {text[:30]!r} is no finite number; write one such as -0.1 (eV)")
    return value


def _crystals(store: SurfaceStore, formula: str, bulk: str | None) -> list[dict[str, Any]]:
    """Return the crystals and methods of a formula, those with the most facets first, rehearsals last.

    Of many crystals some are left out; that with the id `bulk` is not.
    """
    of, same = ["bulk_id", "method_fingerprint", "spacegroup_number"], {"formula": formula}
    symmetry: dict[tuple[str, str], int] = {}
    wanted = [same, {**same, "id": bulk}] if bulk else [same]
    for criteria in wanted:
        for found in store.query(criteria, ["id", *of[1:]], limit=MOST_CRYSTALS, collection="bulks"):
            symmetry[found["id"], found["method_fingerprint"]] = found["spacegroup_number"]
    wanted = [same, {**same, "bulk_id": bulk}] if bulk else [same]
    for criteria in wanted:
        for found in store.query(criteria, of, limit=MOST_FACETS):
            symmetry[found["bulk_id"], found["method_fingerprint"]] = found["spacegroup_number"]
    listed = [
        {
            "bulk_id": name,
            "method_fingerprint": method,
            "n_facets": store.count({**same, "bulk_id": name, "method_fingerprint": method}),
            "spacegroup_number": number,
        }
        for (name, method), number in symmetry.items()
    ]
    return sorted(
        listed,
        key=lambda c: (
            not is_dft(c["method_fingerprint"]), -c["n_facets"], c["bulk_id"], c["method_fingerprint"]
        ),
    )  # fmt: skip


def _chosen(
    crystals: Sequence[dict[str, Any]], bulk: str | None, method: str | None, formula: str
) -> dict[str, Any] | None:
    fitting = [
        c
        for c in crystals
        if (bulk is None or c["bulk_id"] == bulk) and (method is None or c["method_fingerprint"] == method)
    ]
    if crystals and not fitting:
        raise NotFoundError(
            f"No crystal {bulk or ''} of {formula[:80]}{f' by {method}' if method else ''} is in the store; "
            f"see /compounds/{formula[:80]} for those that are there"
        )
    return fitting[0] if fitting else None


def _bulk(store: SurfaceStore, name: str) -> dict[str, Any] | None:
    return next(store.query({"id": name}, _BULK_FIELDS, limit=1, collection="bulks"), None) if name else None


def _facets(store: SurfaceStore, chosen: Mapping[str, Any], formula: str) -> list[dict[str, Any]]:
    criteria = {
        "formula": formula,
        "bulk_id": chosen["bulk_id"],
        "method_fingerprint": chosen["method_fingerprint"],
    }
    return sorted(store.query(criteria, FIELDS, limit=MOST_FACETS), key=sort_key)


def _candidates(
    store: SurfaceStore, formula: str, bulk: Record | None, records: Sequence[Record]
) -> list[dict[str, Any]]:
    """Return candidates of the crystal, or without one of the formula, that no record of it stands for."""
    from stores.learning.candidates import CANDIDATES

    criteria = {"bulk_key": bulk["bulk_key"]} if bulk else {"formula": formula}
    computed = {r["id"] for r in records}
    found = store.query(criteria, _CANDIDATE_FIELDS, limit=MOST_CANDIDATES, collection=CANDIDATES)
    listed = [c for c in found if c["id"] not in computed]
    return sorted(listed, key=lambda c: (_predicted(c, "surface_energy"), sort_key({**c, "termination": 0})))


def _predicted(candidate: Record, target: str) -> float:
    value = ((candidate.get("predictions") or {}).get(target) or {}).get("value")
    return math.inf if value is None else float(value)


def _report(records: Sequence[Record], bulk: Record | None, dmu: float) -> tuple[WulffReport | None, str]:
    """Return the Wulff shape, or why there is none; an InputError if only the chemical potential is wrong."""
    if not records:
        return None, "no facet of this crystal is computed yet"
    if dmu != 0:
        from workflows.analysis.wulff import chemical_potential

        chemical_potential(records, dmu)
    if bulk is None:
        return None, "no Wulff shape: the store lacks the crystal that these slabs were cut from"
    from workflows.report.wulff import wulff_report

    try:
        return wulff_report(records, bulk["structure"], dmu=dmu, known=records), ""
    except InputError as error:
        return None, str(error)


def _window(records: Sequence[Record]) -> list[float] | None:
    windows = [w for r in records if (w := r.get("chemical_potential_window"))]
    return [max(float(w[0]) for w in windows), 0.0] if windows else None


def _gamma(record: Record, dmu: float) -> float | None:
    """Return gamma at a chemical potential (eV/A^2); None if it is not known there."""
    gamma, slope = record.get("surface_energy"), record.get("surface_energy_slope")
    if gamma is None or dmu == 0:
        return None if gamma is None else float(gamma)
    return None if slope is None else float(gamma) + float(slope) * dmu


def plane_colours(records: Sequence[Record]) -> dict[tuple[int, ...], int]:
    """Return a colour of the palette for each plane, the same at every chemical potential.

    Planes of low surface energy, which make up Wulff shapes, come first: theirs differ.
    """
    lowest: dict[tuple[int, ...], float] = {}
    for record in records:
        plane = tuple(record["miller_index"])
        ends = [record.get("surface_energy"), record.get("surface_energy_x_rich")]
        accepted = verdict_status(record, "surface_energy") == "accepted"
        known = [float(end) for end in ends if end is not None and accepted]
        lowest[plane] = min([*known, lowest.get(plane, math.inf)])
    order = sorted(lowest, key=lambda plane: lowest[plane])
    return {plane: place % 8 for place, plane in enumerate(order)}


def _shares(records: Sequence[Record], report: WulffReport | None) -> dict[str, float]:
    """Return the share of the shape's area of each record, by its id."""
    if report is None:
        return {}
    shares = {}
    for facet, share in zip(report.result.facets, report.result.area_fractions, strict=True):
        for r in records:
            same = (tuple(r["miller_index"]), r.get("termination_label", ""), r.get("surface_energy"))
            if same == (facet.miller_index, facet.label, facet.surface_energy):
                shares[r["id"]] = share
                break
    return shares


def _shape(report: WulffReport, colours: Mapping[tuple[int, ...], int]) -> dict[str, Any]:
    from workflows.web.shapes import faces_of

    result = report.result
    return {
        "surface_energy": result.surface_energy,
        "work_function": result.work_function,
        "shape_factor": result.shape_factor,
        "faces": faces_of(result, colours),
    }


def _cell(bulk: Record) -> dict[str, Any]:
    """Return lengths (A) and angles (degrees) of the conventional cell, and its number of atoms."""
    import numpy as np

    matrix = np.asarray(bulk["structure"]["lattice"]["matrix"], dtype=float)
    lengths = np.linalg.norm(matrix, axis=1)
    cosines = matrix @ matrix.T / np.outer(lengths, lengths)
    angles = np.degrees(np.arccos(np.clip([cosines[1, 2], cosines[0, 2], cosines[0, 1]], -1, 1)))
    named = zip(("a", "b", "c", "alpha", "beta", "gamma"), (*lengths, *angles), strict=True)
    return {"n_atoms": len(bulk["structure"]["sites"]), **{name: round(float(x), 6) for name, x in named}}


def _dissolution(bulk: Record | None) -> dict[str, Any] | None:
    """Return the dissolution potential in 10^-6 mol/L at 298 K by the crystal's formation energy."""
    if bulk is None:
        return None
    amounts: dict[str, float] = {}
    for site in bulk["structure"]["sites"]:
        element = str(site["species"][0]["element"])
        amounts[element] = amounts.get(element, 0.0) + 1.0
    energy = 0.0 if len(amounts) == 1 else bulk["formation_energy"]
    if energy is not None and len(amounts) > 1:
        divisor = math.gcd(*(int(n) for n in amounts.values()))
        energy = float(energy) / (sum(amounts.values()) / divisor)
    found = dissolution(amounts, energy)
    return {
        "potential": found.potential,
        "cations": [str(cation) for cation in found.cations],
        "formation_energy_per_atom": energy,
        "notes": list(found.notes),
        "reason": found.reason,
    }


@router.page("/compounds/{formula:path}", "compound.html", "/compounds/{formula:path}.json")
def compound(store: SurfaceStore, request: Request) -> dict[str, Any]:
    """Show one compound."""
    from workflows.web.shapes import drawing

    formula = request.path_params["formula"]
    given = query_texts(request, ("bulk", "method", "dmu"))
    try:
        data = compound_data(store, formula, given)
    except NotFoundError:
        data = compound_data(store, _as_stored(formula), given)  # AgMg is MgAg
    public = {**data, "facets": [{k: v for k, v in f.items() if k[0] != "_"} for f in data["facets"]]}
    shape, window = data["shape"], data["window"]
    return {
        **public,
        "_facets": data["facets"],
        "_drawing": drawing(shape["faces"], f"Wulff shape of {data['formula']}") if shape else None,
        "_chart": gamma_chart(
            data["_records"], colours=data["_colours"], dmu=data["dmu"] if window else None
        ),
        "_chosen": [(name, one(given, name)) for name in ("bulk", "method") if name in given],
        "_step": -window[0] / STEPS if window else None,
    }


def _as_stored(formula: str) -> str:
    try:
        return parse_formula(formula)
    except InputError:
        return formula
