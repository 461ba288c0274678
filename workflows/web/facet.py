"""Page of one facet: slab, potential, surface energy, verdicts, calculations and where they come from."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from stores.errors import InputError
from stores.verdicts import verdict_status
from workflows.analysis.surface_energy import EV_PER_A2_IN_J_PER_M2, reference_element_of
from workflows.report.style import facet_text, sort_key
from workflows.web.charts import Chart, padded
from workflows.web.pages import NotFoundError, PageRouter, query_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import Request

    from stores.surfaces import SurfaceStore

    Record = Mapping[str, Any]

MOST_NEIGHBOURS = 200
"""Facets of the same crystal that are drawn beside this one."""

MOST_POINTS = 1200
"""Of a potential that is drawn."""

LABEL_ROOM = 13
"""Between names of lines (px)."""

FERMI = Markup('E<tspan class="sub" dy="3">F</tspan>')

_NEIGHBOUR_FIELDS = (
    "id", "formula", "chemsys", "miller_index", "termination", "termination_label", "spacegroup_number",
    "surface_energy", "surface_energy_slope", "chemical_potential_window", "verdicts", "reference_element",
)  # fmt: skip
_CALCULATION_FIELDS = ("id", "kind", "label", "created_at", "output")
_OUTPUT_FIELDS = (
    "status", "reason", "energy", "fermi_energy", "max_force", "kpoints", "scf_steps", "ionic_steps",
    "retried", "wall_time", "engine_version", "directory", "setups", "total_magnetization",
)  # fmt: skip

router = PageRouter()


def facet_data(store: SurfaceStore, record_id: str) -> dict[str, Any]:
    """Read one facet with its calculations, its crystal's other facets and the model's stored prediction.

    Raises
    ------
    NotFoundError
        If the store holds no such facet.
    DamagedDocumentError
        If its record lacks a field or has one that cannot be read.
    """
    record = next(store.query({"id": record_id}, limit=1), None)
    if record is None:
        if store.count({"id": record_id}):
            store.surfaces_collection.check_damage(record_id)
        raise NotFoundError(
            f"The store {store.uri} holds no facet {record_id[:80]}; it was removed or is of another store, "
            "see /facets for those that are there"
        )
    record = {**_empty(), **{name: value for name, value in record.items() if value is not None}}
    same = {"bulk_id": record["bulk_id"], "method_fingerprint": record["method_fingerprint"]}
    found = list(store.query(same, _NEIGHBOUR_FIELDS, limit=MOST_NEIGHBOURS)) if record["bulk_id"] else []
    return {
        "facet": record,
        "calculations": _calculations(store, record),
        "prediction": stored_prediction(store, record),
        "neighbours": [other for other in sorted(found, key=sort_key) if other["id"] != record_id],
    }


@cache
def _empty() -> dict[str, Any]:
    """Return the fields of a surface without values, for records that were written before some came."""
    from stores.records import SurfaceRecord

    known = SurfaceRecord.model_fields.items()
    made = {n: None if f.is_required() else f.get_default(call_default_factory=True) for n, f in known}
    return {n: value for n, value in made.items() if n not in ("created_at", "reference_element")}


def _calculations(store: SurfaceStore, record: Record) -> list[dict[str, Any]]:
    """Return the calculations behind a facet in the order of their roles, with what was lost since."""
    roles: dict[str, str] = record.get("calculation_ids") or {}
    collection = store.collection("calculations")
    known = {document["id"]: document for document in collection.by_id(roles.values(), _CALCULATION_FIELDS)}
    listed = []
    for role, name in roles.items():
        document = known.get(name)
        output = (document or {}).get("output") or {}
        listed.append(
            {
                "role": role,
                "id": name,
                "label": document["label"] if document else "",
                "kind": document["kind"] if document else "",
                "created_at": document["created_at"] if document else "",
                **{field: output.get(field) for field in _OUTPUT_FIELDS},
            }
        )
    return listed


def stored_prediction(store: SurfaceStore, record: Record) -> dict[str, Any] | None:
    """Return what a model predicted for a slab that was a candidate, None if nothing is kept.

    ``later`` states whether the value came after the model was registered: only then the model cannot have
    learned from it. A candidate has the id of the record that computing it gives, unless the relaxed lattice
    changed the number of layers; then crystal, plane and termination identify it.
    """
    from stores.learning.candidates import CANDIDATES

    fields = ["id", "model", "predictions", "distance", "warnings"]
    found = next(iter(store.query({"id": record["id"]}, fields, limit=1, collection=CANDIDATES)), None)
    if found is None and record["bulk_id"]:
        bulk = next(
            iter(store.query({"id": record["bulk_id"]}, ["bulk_key"], limit=1, collection="bulks")), None
        )
        criteria = {
            "bulk_key": bulk["bulk_key"] if bulk else None,
            "miller_index": record["miller_index"],
            "termination_key": record["termination_key"],
        }
        found = (
            next(iter(store.query(criteria, fields, limit=1, collection=CANDIDATES)), None) if bulk else None
        )
    if found is None or not found.get("model"):
        return None
    version = str(found["model"]).removeprefix("v")
    criteria = {"version": int(version) if version.isdecimal() else None}
    card = next(iter(store.query(criteria, ["created_at"], limit=1, collection="models")), None)
    later = card is not None and record["created_at"][:19] > card["created_at"][:19]
    return {name: found.get(name) for name in fields if name != "id"} | {"later": later}


def potential_chart(record: Record) -> Markup | None:
    """Draw V - E_F along the normal with both plateaus; None without a potential."""
    import numpy as np

    from stores.structures.vacuum import find_vacuum
    from workflows.analysis.work_function import work_function

    curve, fermi = record.get("potential"), record.get("fermi_energy")
    structure = record.get("relaxed_slab") or record.get("slab")
    if not curve or fermi is None or not structure:
        return None
    matrix = np.asarray(structure["lattice"]["matrix"], dtype=float)
    period = float(abs(np.linalg.det(matrix)) / np.linalg.norm(np.cross(matrix[0], matrix[1])))
    heights = np.array([site["abc"][2] for site in structure["sites"]], dtype=float) * period
    try:
        gap = find_vacuum(heights, period)
        result = work_function(curve["z"], curve["potential"], heights, fermi, period)
    except InputError:
        return None
    start = gap.bottom - gap.width / 2
    z, potential = np.asarray(curve["z"], dtype=float), np.asarray(curve["potential"], dtype=float) - fermi
    place = np.mod(z - start, period)
    order = np.argsort(place)[:: max(len(z) // MOST_POINTS, 1)]
    high = max(float(potential.max()), *(result.sides or (0.0,)))
    low = min(float(potential.min()), 0.0)
    y = padded([low, high + 0.08 * (high - low)])
    chart = Chart(
        f"Planar-averaged potential of {facet_name(record)} along the normal", (0.0, period), y,
        "height along the surface normal (Å)", Markup(f'V − {FERMI}<tspan dy="-3"> (eV)</tspan>'),
    )  # fmt: skip
    chart.line(place[order].tolist(), potential[order].tolist(), "c0")
    if result.plateaus is not None and result.sides is not None:
        for plateau, value, anchor in zip(result.plateaus, result.sides, ("start", "end"), strict=True):
            left = float(np.mod(plateau.start - start + 1e-6, period)) - 1e-6
            right = left + plateau.end - plateau.start
            chart.band(left, right, "plateau")
            chart.line([left, right], [value, value], "c1 strong")
            chart.text(
                left if anchor == "start" else right, value, f"Φ = {value:.3f} eV", anchor, "c1", dy=-7
            )
    chart.level(0.0, "dashed")
    chart.text(period, 0.0, Markup(f" {FERMI}"), "start", dy=4)
    ground = y[0] + 0.03 * (y[1] - y[0])
    for height in np.unique(np.mod(heights - start, period).round(2)):
        chart.point(float(height), ground, "layer")
    return chart.svg()


def gamma_chart(
    records: Sequence[Record],
    chosen: str = "",
    colours: Mapping[tuple[int, ...], int] | None = None,
    dmu: float | None = None,
) -> Markup | None:
    """Draw gamma over the chemical potential of the facets of one crystal; None without a window.

    Parameters
    ----------
    records
        Facets of one crystal and method.
    chosen
        Id of the facet that is drawn strongly; the others are grey.
    colours
        Else the palette's number of each plane; terminations that are nowhere the lowest are grey.
    dmu
        A chemical potential to mark (eV).
    """
    shown = [r for r in records if r.get("surface_energy") is not None and r.get("chemical_potential_window")]
    if not shown:
        return None
    lowest = min(float(r["chemical_potential_window"][0]) for r in shown)
    if not lowest < 0:
        return None
    reference = reference_element_of(shown[0])
    partner = next((e for e in str(shown[0]["chemsys"]).split("-") if e != reference), "X")
    ends = {r["id"]: _ends(r, lowest) for r in shown}
    values = [value for pair in ends.values() for value in pair]
    chart = Chart(
        f"Surface energy of {shown[0]['formula']} over the chemical potential of {reference}",
        (lowest, 0.0), padded(values, 0.1), f"Δμ({reference}) (eV)", "γ (eV/Å²)",
        ("γ (J/m²)", EV_PER_A2_IN_J_PER_M2),
    )  # fmt: skip
    coloured = {chosen} if colours is None else _lowest_somewhere(shown, ends)
    for record in sorted(shown, key=lambda r: r["id"] in coloured):
        drawn = "other"
        if record["id"] in coloured:
            drawn = "c0 strong" if colours is None else f"c{colours[tuple(record['miller_index'])]}"
        if verdict_status(record, "surface_energy") != "accepted":
            drawn += " dashed"
        chart.line([lowest, 0.0], ends[record["id"]], drawn, facet_name(record), facet_url(record))
    if colours is not None:
        _label_lines(chart, [r for r in shown if r["id"] in coloured], ends)
    if dmu is not None:
        chart.upright(dmu, "mark")
    top = chart.y[1]
    chart.text(lowest, top, f"{partner}-rich", "start", "label", dy=-7)
    chart.text(0.0, top, f"{reference}-rich", "end", "label", dy=-7)
    return chart.svg()


def _lowest_somewhere(records: Sequence[Record], ends: Mapping[str, tuple[float, float]]) -> set[str]:
    """Return ids of the facets that are the lowest of their plane at an end of the window or between."""
    found = set()
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        lowest: dict[tuple[int, ...], tuple[float, str]] = {}
        for record in records:
            left, right = ends[record["id"]]
            here = (left + share * (right - left), record["id"])
            plane = tuple(record["miller_index"])
            lowest[plane] = min(here, lowest.get(plane, here))
        found |= {name for _, name in lowest.values()}
    return found


def _label_lines(chart: Chart, records: Sequence[Record], ends: Mapping[str, tuple[float, float]]) -> None:
    """Name the lines at their right ends, the lowest first, as far as there is room."""
    free = chart.height * 2.0
    for record in sorted(records, key=lambda r: ends[r["id"]][1]):
        left, right = ends[record["id"]]
        # on the side of the line that is empty
        shift = 12.0 if left > right else -4.0
        y = chart.place(0.0, right)[1] + shift
        if free - y >= LABEL_ROOM:
            label = f"{facet_text(record)} {record.get('termination_label') or ''}".rstrip()
            chart.text(0.0, right, f"{label} ", "end", "name", dy=shift)
            free = y


def _ends(record: Record, lowest: float) -> tuple[float, float]:
    gamma = float(record["surface_energy"])
    return gamma + float(record.get("surface_energy_slope") or 0.0) * lowest, gamma


def facet_name(record: Record) -> str:
    """Name a facet in plain text: MgAg (100) Ag."""
    parts = (record["formula"], facet_text(record), str(record.get("termination_label") or ""))
    return " ".join(part for part in parts if part)


def reference_of(record: Record) -> str:
    """Return the element whose chemical potential a record varies; empty for three or more elements."""
    return reference_element_of(record) if str(record["chemsys"]).count("-") < 2 else ""


def facet_url(record: Record) -> str:
    """Return the path of a facet's page."""
    from workflows.web.notation import segment

    return f"/facets/{segment(record['id'])}"


def _slabs(record: Record) -> dict[str, dict[str, Any]]:
    """Return the slab as cut and as relaxed for the view."""
    from workflows.web.atoms import view_of

    named = (("as cut", record.get("slab")), ("relaxed", record.get("relaxed_slab")))
    return {name: view_of(structure) for name, structure in named if structure}


@router.page("/facets/{record_id:path}", "facet.html", "/facets/{record_id:path}.json")
def facet(store: SurfaceStore, request: Request) -> dict[str, Any]:
    """Show one facet."""
    from workflows.web.atoms import element_colours, side_and_top

    query_texts(request, ())
    data = facet_data(store, request.path_params["record_id"])
    record = data["facet"]
    slabs = _slabs(record)
    symbols = [symbol for view in slabs.values() for symbol in view["symbols"]]
    return {
        **data,
        "_name": facet_name(record),
        "_reference": reference_of(record),
        "_slabs": slabs,
        "_colours": element_colours(symbols),
        "_drawings": {name: side_and_top(view, f"{name}: side and top view") for name, view in slabs.items()},
        "_potential": potential_chart(record),
        "_gamma": gamma_chart([record, *data["neighbours"]], record["id"]),
        "_compared": _compared(record, data["prediction"]),
        "_settings": _settings(record["method"]),
    }


def _compared(record: Record, prediction: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return value, prediction and difference of each target that a model predicted."""
    rows = []
    for target, symbol, unit, decimals in (
        ("surface_energy", "γ", "eV/Å²", 4),
        ("work_function", "Φ", "eV", 3),
    ):
        predicted = ((prediction or {}).get("predictions") or {}).get(target) or {}
        value, found = record.get(target), predicted.get("value")
        if found is not None:
            rows.append(
                {
                    "symbol": symbol, "unit": unit, "decimals": decimals, "value": value, "predicted": found,
                    "sigma": predicted.get("sigma"), "difference": None if value is None else found - value,
                }
            )  # fmt: skip
    return rows


def _plain(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _settings(method: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the settings of a method by name, as text."""
    setups = ", ".join(f"{e} {label}" for e, label in sorted((method.get("setups") or {}).items()))
    further = sorted((method.get("extra") or {}).items())
    named = [(name.replace("_", " "), _plain(value)) for name, value in further if value not in ({}, None)]
    extra = "; ".join(f"{name} {value}" for name, value in named)
    listed = [
        ("Engine, preset", f"{method['engine']}, {method['preset']}"),
        ("Functional", method["functional"]),
        ("Cut-off", f"{method['cutoff']:g} eV"),
        ("k density", f"{method['k_density']:g} Å"),
        ("Smearing", f"{method['smearing']}, {method['smearing_width']:g} eV"),
        ("Forces below", f"{method['force_tolerance']:g} eV/Å"),
        ("Setups", setups),
        ("Further settings", extra),
    ]
    return [(name, str(text)) for name, text in listed if text]
