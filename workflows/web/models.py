"""Page of the models: the champion's card, its errors, what was decided, and what it wants computed next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from stores.learning.candidates import CANDIDATES
from stores.learning.history import REFRESHES, ROUNDS, Round
from stores.learning.model_card import read_entry
from stores.learning.registry import ModelRegistry
from stores.method_names import quantity_of, rehearsal_filter
from stores.verdicts import TARGETS, verdict_status
from workflows.report.style import SYMBOLS
from workflows.report.training_figures import target_name, unit_of
from workflows.structures.naming import format_plane
from workflows.web.charts import Chart, padded
from workflows.web.facet import facet_url
from workflows.web.pages import NotFoundError, PageRouter, one, query_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fastapi import Request

    from stores.learning.decisions import DecisionLog
    from stores.learning.model_card import ModelCard
    from stores.surfaces import SurfaceStore

MOST_VERSIONS = 200
MOST_REFRESHES = 50
MOST_PARITY = 300
"""Newest facets in which a prediction made beforehand is looked for."""

MOST_QUEUED = 50
"""Slabs of the latest round that are listed."""

MOST_LOOKED_AT = 3000
"""Facets, and candidates, of the crystals of a round among which its slabs are looked for."""

_LIGHT = (
    "version",
    "label",
    "created_at",
    "members",
    "snapshot",
    "sizes",
    "pretrained",
    "elements",
    "schema_version",
)
_SURFACE = (
    "id", "formula", "miller_index", "spacegroup_number", "termination_label", "created_at", "verdicts",
    "surface_energy", "work_function",
)  # fmt: skip

router = PageRouter()


def models_data(store: SurfaceStore, name: str | None = None) -> dict[str, Any]:
    """Read the registry of a store, and one card in full: the champion's, or that of `name`.

    Raises
    ------
    NotFoundError
        If there is no such model.
    """
    registry = ModelRegistry(store)
    log = registry.decision_log()
    newest = list(store.query({}, _LIGHT, sort={"version": -1}, limit=MOST_VERSIONS, collection="models"))
    card = _card(registry, log, name, newest)
    return {
        "champion": f"v{log.champion}" if log.champion is not None else None,
        "card": _plain_card(card, log) if card else None,
        "versions": [
            {
                "name": f"v{document['version']}",
                "state": log.status(document["version"]).state,
                "label": document["label"],
                "members": document.get("members", 1),
                "created_at": document["created_at"],
                "sizes": document.get("sizes") or {},
                "pretrained": document.get("pretrained") or "",
            }
            for document in newest
        ],
        "versions_in_all": store.count({}, "models"),
        "parity": parity(store, card) if card else {},
        "decisions": [decision.model_dump(mode="json") for decision in reversed(log.decisions)][
            :MOST_REFRESHES
        ],
        "refreshes": list(store.query({}, sort={"number": -1}, limit=MOST_REFRESHES, collection=REFRESHES)),
        "queue": queue(store, f"v{log.champion}" if log.champion is not None else ""),
    }


def _card(
    registry: ModelRegistry, log: DecisionLog, name: str | None, newest: Sequence[Mapping[str, Any]]
) -> ModelCard | None:
    """Return the card asked for, else the champion's, else that of the latest model."""
    if name is not None:
        try:
            return registry.card(registry.resolve(name))
        except InputError as error:
            raise NotFoundError(str(error)) from None
    version = log.champion if log.champion is not None else (newest[0]["version"] if newest else None)
    return None if version is None else registry.card(version)


def _plain_card(card: ModelCard, log: DecisionLog) -> dict[str, Any]:
    status = log.status(card.version)
    size = sum(file.size for file in card.weights.files)
    return {
        **card.model_dump(mode="json", exclude={"weights"}),
        "name": card.name,
        "state": status.state,
        "reason": status.reason,
        "since": status.since.isoformat() if status.since else None,
        "weights": {"sha256": card.weights.sha256, "bytes": size, "place": card.weights.place},
    }


def errors(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each split, target and set of a card, with its errors."""
    rows = []
    for split, found in card["metrics"].items():
        for target, values in found.items():
            for part, words in (("test", "test"), ("val", "validation"), ("train", "training")):
                if not values.get(part):
                    continue
                own = values[part]
                of_test = (
                    {key: values.get(key) for key in ("macro_mae", "coverage_90")} if part == "test" else {}
                )
                rows.append({"split": split, "target": target, "set": words, **own, **of_test})
    return rows


def by_element(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the test MAE by element of the first split that has it: columns and rows.

    Each row has the element, how many test slabs hold it, and for each column the MAE and its share of the
    largest of the column, for a bar.
    """
    for split, found in card["metrics"].items():
        columns = [target for target in found if found[target].get("by_element")]
        if not columns:
            continue
        names = {name for target in columns for name in found[target]["by_element"]}
        largest = {
            target: max((e["mae"] or 0.0) for e in found[target]["by_element"].values()) or 1.0
            for target in columns
        }
        rows = []
        for name in names:
            cells = [found[target]["by_element"].get(name) for target in columns]
            rows.append(
                {
                    "element": name,
                    "n": max(cell["n"] for cell in cells if cell),
                    "errors": [
                        None
                        if cell is None or cell["mae"] is None
                        else {"mae": cell["mae"], "share": cell["mae"] / largest[target]}
                        for cell, target in zip(cells, columns, strict=True)
                    ],
                }
            )
        rows.sort(key=lambda row: -max(e["share"] if e else 0.0 for e in row["errors"]))
        return {"split": split, "targets": columns, "rows": rows}
    return {}


def parity(store: SurfaceStore, card: ModelCard) -> dict[str, list[dict[str, Any]]]:
    """Compare what a model predicted of candidates with what was computed of them.

    Only accepted values of DFT count. ``later`` states whether the value came after the model was
    registered: only then the model cannot have learned from it.
    """
    by_dft = rehearsal_filter(store, "surfaces", rehearsed=False)
    newest = list(store.query(by_dft, _SURFACE, sort={"created_at": -1}, limit=MOST_PARITY))
    predicted = {
        document["id"]: document
        for document in store.collection(CANDIDATES).by_id(
            [surface["id"] for surface in newest], ["id", "model", "predictions"]
        )
        if document["model"] == card.name
    }
    registered = card.created_at.isoformat()[:19]
    points: dict[str, list[dict[str, Any]]] = {}
    for surface in newest:
        for target, found in (predicted.get(surface["id"]) or {}).get("predictions", {}).items():
            field = quantity_of(target)
            value = surface.get(field) if field in TARGETS else None
            judged = verdict_status(surface, field)
            if value is None or found.get("value") is None or judged != "accepted":
                continue
            plane = format_plane(surface["miller_index"], surface["spacegroup_number"])
            points.setdefault(target, []).append(
                {
                    "id": surface["id"],
                    "name": f"{surface['formula']} {plane} {surface['termination_label']}",
                    "computed": value,
                    "predicted": found["value"],
                    "sigma": found.get("sigma"),
                    "later": surface["created_at"][:19] > registered,
                }
            )
    return points


def parity_chart(target: str, points: Sequence[Mapping[str, Any]]) -> Any:
    """Draw predicted against computed values; hollow are those known before the model was registered."""
    values = [point[key] for point in points for key in ("computed", "predicted")]
    bounds = padded(values, 0.06, 1e-3)
    unit = f" ({unit_of(target)})" if unit_of(target) else ""
    symbol = SYMBOLS.get(quantity_of(target), target_name(target))
    chart = Chart(
        f"{symbol} predicted and computed",
        bounds,
        bounds,
        f"{symbol} by DFT{unit}",
        f"{symbol} predicted{unit}",
        width=420,
        height=390,
    )
    chart.line(bounds, bounds, "diagonal")
    for point in points:
        if point["sigma"]:
            low, high = point["predicted"] - point["sigma"], point["predicted"] + point["sigma"]
            x = point["computed"]
            chart.line([x, x], [max(low, bounds[0]), min(high, bounds[1])], "error")
    for point in points:
        name = f"{point['name']}: {point['computed']:.4g}, predicted {point['predicted']:.4g}"
        kind = f"c0{'' if point['later'] else ' hollow'}"
        chart.point(point["computed"], point["predicted"], kind, name, facet_url(point))
    return chart.svg()


def queue(store: SurfaceStore, champion: str) -> dict[str, Any]:
    """Return what waits to be computed: the latest round of each campaign, and counts of candidates.

    A slab is computed once the store holds a facet of its crystal, plane and termination.
    """
    latest: dict[str, dict[str, Any]] = {}
    for document in store.query({}, sort={"number": -1}, limit=500, collection=ROUNDS):
        latest.setdefault(document["campaign"], document)
    total = store.count({}, CANDIDATES)
    return {
        "candidates": total,
        "predicted": store.count({"model": champion}, CANDIDATES) if champion else 0,
        "rounds": [_round(store, document) for _, document in sorted(latest.items())],
    }


def _round(store: SurfaceStore, document: dict[str, Any]) -> dict[str, Any]:
    found = read_entry(Round, document, f"Round {document['number']} of {document['campaign']}", store.uri)
    slabs = found.slabs[:MOST_QUEUED]
    keys = sorted({slab.bulk_key for slab in slabs})
    bulks = list(store.query({"bulk_key": {"$in": keys}}, ["id", "bulk_key"], collection="bulks"))
    crystal = {bulk["id"]: bulk["bulk_key"] for bulk in bulks}
    fields = ["id", "bulk_id", "miller_index", "termination_key"]
    computed = {
        (crystal[s["bulk_id"]], tuple(s["miller_index"]), s["termination_key"]): s["id"]
        for s in store.query({"bulk_id": {"$in": list(crystal)}}, fields, limit=MOST_LOOKED_AT)
    }
    fields = [
        "bulk_key", "miller_index", "termination_key", "formula", "termination_label", "spacegroup_number",
        "predictions", "n_atoms", "warnings",
    ]  # fmt: skip
    known = {
        (c["bulk_key"], tuple(c["miller_index"]), c["termination_key"]): c
        for c in store.query({"bulk_key": {"$in": keys}}, fields, limit=MOST_LOOKED_AT, collection=CANDIDATES)
    }
    rows = []
    for slab in slabs:
        candidate = known.get(slab.key) or {}
        rows.append(
            {
                "formula": candidate.get("formula", ""),
                "plane": format_plane(slab.miller_index, candidate.get("spacegroup_number", 0)),
                "termination": candidate.get("termination_label", ""),
                "n_atoms": candidate.get("n_atoms"),
                "predictions": candidate.get("predictions") or {},
                "warnings": candidate.get("warnings") or [],
                "reason": slab.reason,
                "facet": computed.get(slab.key),
            }
        )
    return {
        "campaign": found.campaign,
        "number": found.number,
        "strategy": found.strategy,
        "model": found.model,
        "core_hours": found.core_hours,
        "done": found.done,
        "chosen_at": found.chosen_at.isoformat(),
        "slabs_in_all": len(found.slabs),
        "slabs": rows,
    }


def _facts(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the facts of a card for people, those that are known."""
    yield "State", card["state"] + (f": {card['reason']}" if card["reason"] else "")
    members = f", {card['members']} members" if card["members"] > 1 else ""
    yield "Trained as", f"{card['label']}{members}"
    if card["sizes"]:
        yield f"{card['noun'].capitalize()}s", ", ".join(f"{n} {part}" for part, n in card["sizes"].items())
    yield "Elements", " ".join(card["elements"])
    yield "Snapshot", card["snapshot"] or "none: it cannot be trained again once records change"
    if card["seconds"] is not None:
        yield "Training", f"{card['seconds']:.0f} s"
    yield "Registered", f"{card['created_at'][:16].replace('T', ' ')} UTC by {card['made_by']}"
    before = card["champion_before"]
    yield "Champion before", "none" if before is None else f"v{before}"
    size = card["weights"]["bytes"]
    shown = f"{size / 1e6:.1f} MB" if size > 5e5 else f"{size / 1e3:.1f} kB"
    yield "Weights", f"{shown}, sha256 {card['weights']['sha256'][:16]}…"
    if card["code_version"]:
        yield "Code", card["code_version"]
    if card["note"]:
        yield "Note", card["note"]


@router.page("/models", "models.html")
def models(store: SurfaceStore, request: Request) -> dict[str, Any]:
    """Show the registry, and a card."""
    data = models_data(store, one(query_texts(request, ("model",)), "model"))
    card = data["card"]
    return {
        **data,
        "_facts": list(_facts(card)) if card else [],
        "_errors": errors(card) if card else [],
        "_elements": by_element(card) if card else {},
        "_charts": {target: parity_chart(target, points) for target, points in data["parity"].items()},
        "_target_name": target_name,
        "_unit_of": unit_of,
    }
