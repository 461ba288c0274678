"""Surface records and stable windows: as tables on the terminal and as rows for JSON and CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.errors import pluralize
from stores.verdicts import TARGETS, verdict_status
from workflows.analysis.stability_window import SAME_ENERGY, surface_energies_at
from workflows.analysis.surface_energy import EV_PER_A2_IN_J_PER_M2, reference_element_of
from workflows.report.style import SYMBOLS, facet_text, signed, sort_key
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.text import Text

    from workflows.analysis.stability_window import StableWindow

ROW_FIELDS = (
    "id",
    "formula",
    "chemsys",
    "miller_index",
    "termination",
    "termination_label",
    "surface_energy",
    "surface_energy_x_rich",
    "work_function",
    "verdicts",
    "method_fingerprint",
    "reference_element",
)


def rows(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return `ROW_FIELDS` of each stored surface record, for JSON and CSV.

    Surface energies are in eV/A^2, work functions in eV, `verdicts` are {target: {status, reason}};
    `reference_element` is that in which a binary's `surface_energy` is rich, null for others.
    """
    return [
        {name: _plain(record.get(name)) for name in ROW_FIELDS}
        | {"reference_element": reference_element_of(record) if _is_binary(record) else None}
        for record in records
    ]


def flat_rows(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows for CSV: the Miller index as "1 0 -1", each verdict and its reason in a column of its own."""
    flat = []
    for row in rows(records):
        verdicts = row.pop("verdicts") or {}
        row["miller_index"] = " ".join(str(i) for i in row["miller_index"] or ())
        for target in TARGETS:
            verdict = verdicts.get(target) or {}
            row[f"{target}_verdict"] = verdict.get("status")
            row[f"{target}_reason"] = verdict.get("reason")
        flat.append(row)
    return flat


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def surface_table(records: Iterable[Mapping[str, Any]], title: str = "", sort: bool = True) -> Table:
    """Table of stored facets with surface energies in both units, work functions and verdicts.

    Reasons of rejections are listed below it, each once; the method has a column if there are several. `sort`
    orders by compound, plane and termination; False keeps the order given.
    """
    from rich.text import Text

    listed = list(records)
    if sort:
        listed.sort(key=sort_key)
    methods = method_names({str(record.get("method_fingerprint") or "?") for record in listed})
    # that of an imported slab names its source
    several_methods = len(methods) > 1 or any(record.get("source") for record in listed)
    columns = facet_columns()
    rich, note = rich_end(listed)
    ends = {"surface_energy": rich} | ({"surface_energy_x_rich": "X-rich"} if rich else {})
    for end in ends.values():
        name = f"γ {end}".strip()
        columns += [
            Column(f"{name}\neV/Å²", right=True),
            Column(f"{name}\nJ/m²", right=True, spare=True),
        ]
    columns.append(Column("Φ\neV", right=True))
    if several_methods:
        columns.append(Column("method"))
    columns.append(Column("verdict γ / Φ", wrap=True))
    table = Table(columns, title)
    table.notes += note
    rejected: dict[str, list[str]] = {}
    for record in listed:
        gamma_style = _value_style(verdict_status(record, "surface_energy"))
        cells = facet_cells(record)
        for name in ends:
            value = record.get(name)
            joule = None if value is None else value * EV_PER_A2_IN_J_PER_M2
            cells += [Text(_number(value, 4), style=gamma_style), Text(_number(joule, 3), style=gamma_style)]
        phi_style = _value_style(verdict_status(record, "work_function"))
        cells.append(Text(_number(record.get("work_function"), 3), style=phi_style))
        if several_methods:
            cells.append(Text(methods[str(record.get("method_fingerprint") or "?")]))
        table.add_row(*cells, _verdict_cell(record))
        if reasons := _reasons(record):
            rejected.setdefault(reasons, []).append(_name(record))
    for reasons, (first, *others) in rejected.items():
        more = f" and {pluralize(len(others), 'other')}" if others else ""
        table.notes.append(f"{first}{more}: {reasons}")
    return table


def _is_binary(record: Mapping[str, Any]) -> bool:
    return str(record.get("chemsys")).count("-") == 1


def reference_elements(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the element in which `surface_energy` is rich of every binary, by formula."""
    named: dict[str, str] = {}
    for record in records:
        if _is_binary(record) and record["formula"] not in named:
            named[record["formula"]] = reference_element_of(record)
    return named


def rich_end(records: Iterable[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """Return the name of the end dmu = 0 (empty if all are elements), and what it means where it differs."""
    named = reference_elements(records)
    elements = set(named.values())
    if len(elements) < 2:
        return "".join(f"{element}-rich" for element in elements), []
    others = ", ".join(f"{element} of {formula}" for formula, element in named.items() if element != "Mg")
    return "A-rich", [f"A is {'Mg; without Mg: ' if 'Mg' in elements else ''}{others}"]


def facet_columns() -> list[Column]:
    """Columns that name a facet: compound (once for all its facets), plane and termination."""
    return [Column("compound", once=True), Column("facet"), Column("termination", short="term.")]


def facet_cells(record: Mapping[str, Any]) -> list[Text]:
    """Cells of `facet_columns` for a document as stored."""
    from rich.text import Text

    label = str(record.get("termination_label") or record.get("termination", ""))
    return [Text(record["formula"], style="bold"), Text(facet_text(record)), Text(label)]


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def method_names(fingerprints: set[str]) -> dict[str, str]:
    """Shorten fingerprints to engine and preset, with as much of the hash as distinguishes them.

    The short names are valid for ``--method``.
    """
    names: dict[str, str] = {}
    for fingerprint in fingerprints:
        name = fingerprint.rsplit("-", 1)[0]
        others = [other for other in fingerprints - {fingerprint} if other.rsplit("-", 1)[0] == name]
        length = len(name) + 5 if others else len(name)
        while any(other.startswith(fingerprint[:length]) for other in others):
            length += 1
        names[fingerprint] = fingerprint[:length]
    return names


def _value_style(status: str) -> str:
    return "" if status == "accepted" else "dim strike" if status == "failed" else "yellow"


def status_style(status: str) -> str:
    """Colour of a verdict."""
    if status == "accepted":
        return "green"
    return "red" if status in ("failed", "unconverged") else "yellow"


def _verdict_cell(record: Mapping[str, Any]) -> Text:
    from rich.text import Text

    words = [verdict_status(record, target) for target in TARGETS]
    cell = Text()
    for word in words[:1] if words[0] == words[1] else words:
        cell.append(" / " if cell.plain else "").append(word.replace("_", " "), style=status_style(word))
    return cell


def _reasons(record: Mapping[str, Any]) -> str:
    """Join the reasons of both rejections; equal ones are given once."""
    lines = []
    for target, symbol in SYMBOLS.items():
        verdict = (record.get("verdicts") or {}).get(target) or {}
        if verdict.get("status") != "accepted" and verdict.get("reason"):
            lines.append((symbol, str(verdict["reason"])))
    if len(lines) == 2 and lines[0][1] == lines[1][1]:
        return lines[0][1]
    return "; ".join(f"{symbol} {reason}" for symbol, reason in lines)


def _name(record: Mapping[str, Any]) -> str:
    return " ".join(
        part for part in (record["formula"], facet_text(record), str(record.get("termination_label") or ""))
        if part
    )  # fmt: skip


def window_fields(surface: Mapping[str, Any], window: StableWindow) -> dict[str, Any]:
    """Return the stable window of a surface for JSON: energies in eV, surface energies in eV/A^2."""
    return {
        "stable_window": _plain(window.window),
        "stable_surface_energies": _plain(surface_energies_at(window.window, surface)),
        "stable_limits": _plain(window.limits),
        "energy_above_hull": window.energy_above_hull,
        "decomposition": dict(window.decomposition),
        "competing_phases": list(window.competing),
        "stable_method": window.method,
        "stable_reason": window.reason,
    }


def flat_window_fields(surface: Mapping[str, Any], window: StableWindow) -> dict[str, Any]:
    """Return the same for CSV, each end in a column of its own."""
    flat: dict[str, Any] = {}
    energies = surface_energies_at(window.window, surface)
    for name, ends in (
        ("stable_window", window.window),
        ("stable_surface_energy", energies),
        ("stable_limit", window.limits),
    ):
        flat[f"{name}_from"], flat[f"{name}_to"] = ends or (None, None)
    return {
        **flat,
        "energy_above_hull": window.energy_above_hull,
        "decomposition": " + ".join(f"{share:.4g} {name}" for name, share in window.decomposition),
        "competing_phases": ", ".join(window.competing),
        "stable_method": window.method,
        "stable_reason": window.reason,
    }


def stable_window_table(
    surfaces: Sequence[Mapping[str, Any]], windows: Sequence[StableWindow], sort: bool = True
) -> Table:
    """Table of stored facets with gamma at both ends of their compound's stable window.

    Below it a line for each compound: its window, the phases that form beyond, and the competing phases.
    """
    from rich.text import Text

    listed = list(zip(surfaces, windows, strict=True))
    if sort:
        listed.sort(key=lambda pair: sort_key(pair[0]))
    methods = method_names({str(surface["method_fingerprint"]) for surface in surfaces})
    several_methods = len(methods) > 1
    rich, note = rich_end(surfaces)
    columns = [*facet_columns(), Column(f"{f'γ {rich}'.strip()}\neV/Å²", right=True)]
    columns += [
        Column(name, right=True) for name in ("Δμ from\neV", "Δμ to\neV", "γ(from)\neV/Å²", "γ(to)\neV/Å²")
    ]
    columns += [Column(name, right=True, spare=True) for name in ("γ(from)\nJ/m²", "γ(to)\nJ/m²")]
    columns += [Column("method")] if several_methods else []
    table = Table([*columns, Column("verdict γ", wrap=True)])
    table.notes += note
    for surface, window in listed:
        status = verdict_status(surface, "surface_energy")
        gamma, ends = surface.get("surface_energy"), surface_energies_at(window.window, surface)
        style = "" if status == "accepted" else "yellow"
        cells = [
            *facet_cells(surface),
            Text("–" if gamma is None else f"{gamma:.4f}", style=style),
            *(Text("–" if window.window is None else signed(x, 3)) for x in window.window or (0, 0)),
            *(Text("–" if ends is None else f"{x:.4f}", style=style) for x in ends or (0, 0)),
        ]
        joule = [x * EV_PER_A2_IN_J_PER_M2 for x in ends or (0, 0)]
        cells += [Text("–" if ends is None else f"{x:.3f}", style=style) for x in joule]
        if several_methods:
            cells.append(Text(methods[str(surface["method_fingerprint"])]))
        table.add_row(*cells, Text(status.replace("_", " "), style=status_style(status)))
        line = describe(surface, window, methods)
        if line not in table.notes:
            table.notes.append(line)
    return table


def unstable_note(window: StableWindow | None, dmu: float) -> str:
    """Return a line if another phase forms at a chemical potential (eV), else an empty string."""
    if window is None or window.energy_above_hull is None:
        return ""
    if window.window is None or window.limits is None:
        return window.reason
    (low, high), (left, right) = window.window, window.limits
    if low - SAME_ENERGY <= dmu <= high + SAME_ENERGY:
        return ""
    phase = left if dmu < low else right
    return (
        f"not stable at this chemical potential: {phase} forms; stable from {signed(low, 3)} to "
        f"{signed(high, 3)} eV ({window.method})"
    )


def describe(surface: Mapping[str, Any], window: StableWindow, methods: Mapping[str, str]) -> str:
    """Describe in one line where a compound is stable, or why nowhere; `methods` maps to short names."""
    method = methods.get(window.method, window.method)
    formula = surface["formula"]
    phases = ", ".join(window.competing)
    against = (
        f"compared with {phases} by {method}"
        if phases
        else f"only elemental reference phases available from {method}"
    )
    if window.window is None or window.limits is None:
        line = window.reason if window.reason.startswith(formula) else f"{formula}: {window.reason}"
        return line if window.energy_above_hull is None else f"{line} ({against})"
    (low, high), (left, right) = window.window, window.limits
    whole = surface.get("chemical_potential_window")
    own, of = str(surface["method_fingerprint"]), ""
    if whole and own == window.method:
        of = f", of {signed(whole[0], 3)} to 0"
    elif whole:  # another formation energy, so that one window need not lie in the other
        of = f"; the elements alone leave {signed(whole[0], 3)} to 0 by {methods.get(own, own)}"
    return (
        f"{formula}: stable at Δμ({window.reference}) from {signed(low, 3)} eV ({left} forms below) to "
        f"{signed(high, 3)} eV ({right} forms above){of}; {against}"
    )
