"""Surface records as a table for people and as rows for programs; light enough for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.report.style import facet_text, sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.table import Table
    from rich.text import Text

EV_PER_A2_IN_J_PER_M2 = 16.02176634  # e in C times 1e20; importing workflows.analysis would load numpy

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
)

SHORT = {
    "accepted": "ok",
    "unconverged": "unconverged",
    "negative": "negative",
    "reconstructed": "reconstructed",
    "vacuum_not_flat": "vacuum",
    "asymmetric": "asymmetric",
    "inconsistent_settings": "settings",
    "faulty": "faulty",
    "failed": "failed",
}
"""Verdicts in one word each."""

SHORTER = {"unconverged": "unconv.", "reconstructed": "reconstr.", "asymmetric": "asymm."}
"""For terminals below 96 columns."""

WIDE = 120
"""From this width (columns) on the reasons of rejections stand in the table rather than below it."""


def rows(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Pick what JSON and CSV show of each surface record.

    Parameters
    ----------
    records
        Documents as stored.

    Returns
    -------
    list of dict
        With the keys of `ROW_FIELDS`; surface energies in eV/A^2, work function in eV, `verdicts` as
        {target: {status, reason}}. Order as given.
    """
    return [{name: _plain(record.get(name)) for name in ROW_FIELDS} for record in records]


def flat_rows(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows for CSV: the Miller index as "1 0 -1", each verdict and its reason in a column of its own."""
    flat = []
    for row in rows(records):
        verdicts = row.pop("verdicts") or {}
        row["miller_index"] = " ".join(str(i) for i in row["miller_index"] or ())
        for target in ("surface_energy", "work_function"):
            verdict = verdicts.get(target) or {}
            row[f"{target}_verdict"] = verdict.get("status")
            row[f"{target}_reason"] = verdict.get("reason")
        flat.append(row)
    return flat


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def surface_table(
    records: Iterable[Mapping[str, Any]], width: int = 100, title: str | None = None, sort: bool = True
) -> Table:
    """Table of facets with surface energies in both units, work functions and verdicts.

    Parameters
    ----------
    records
        Documents as stored.
    width
        Columns of the terminal. Below 96 the values in J/m^2 share a cell with those in eV/A^2 in a
        shorter form; from `WIDE` on the reasons of rejections are shown in the table, otherwise
        below it. The method has a column of its own if there are several, or imported slabs.
    title
        Heading.
    sort
        By compound, plane and termination; False keeps the order given (a query's own sorting).

    Returns
    -------
    rich.table.Table
        Print it with rich; colours vanish by themselves where there is no terminal.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    listed = list(records)
    if sort:
        listed.sort(key=sort_key)
    methods = method_names({str(record.get("method_fingerprint") or "?") for record in listed})
    # that of an imported slab names its source
    several_methods = len(methods) > 1 or any(record.get("source") for record in listed)
    room = width - (max(map(len, methods.values())) + 2 if several_methods else 0)
    narrow, wide = room < 96, room >= WIDE
    padding = (0, 1, 0, 0) if narrow else (0, 1)
    table = Table(title=title, box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=padding)
    table.add_column("compound", no_wrap=True)
    table.add_column("facet", no_wrap=True)
    table.add_column("term." if narrow else "termination", no_wrap=True)
    if narrow:
        table.add_column("γ Mg-rich\neV/Å²  J/m²", justify="right", no_wrap=True)
        table.add_column("γ X-rich\neV/Å²  J/m²", justify="right", no_wrap=True)
    else:
        for end in ("Mg-rich", "X-rich"):
            table.add_column(f"γ {end}\neV/Å²", justify="right", no_wrap=True)
            table.add_column("\nJ/m²", justify="right", no_wrap=True)
    table.add_column("Φ\neV", justify="right", no_wrap=True)
    if several_methods:
        table.add_column("method", no_wrap=room >= 80, overflow="fold")
    table.add_column("verdict γ / Φ" if not wide else "verdicts and reasons", overflow="fold")

    previous = None
    notes: list[tuple[str, str]] = []
    for record in listed:
        verdicts = record["verdicts"]
        gamma_style = _value_style(verdicts["surface_energy"]["status"])
        phi_style = _value_style(verdicts["work_function"]["status"])
        compound = record["formula"] if record["formula"] != previous else ""
        previous = record["formula"]
        cells: list[Text] = [
            Text(compound, style="bold"),
            Text(facet_text(record)),
            Text(str(record.get("termination_label") or record.get("termination", ""))),
        ]
        for name in ("surface_energy", "surface_energy_x_rich"):
            value = record.get(name)
            ev = "–" if value is None else f"{value:.4f}"
            joule = "–" if value is None else f"{value * EV_PER_A2_IN_J_PER_M2:.3f}"
            if narrow:
                joined = ev if value is None else f"{ev}  {joule}"
                cells.append(Text(joined, style=gamma_style))
            else:
                cells += [Text(ev, style=gamma_style), Text(joule, style=gamma_style)]
        phi = record.get("work_function")
        cells.append(Text("–" if phi is None else f"{phi:.3f}", style=phi_style))
        reasons = _reasons(record)
        if several_methods:
            cells.append(Text(methods[str(record.get("method_fingerprint") or "?")]))
        verdict = _verdict_cell(verdicts, narrow)
        if wide and reasons:
            verdict.append("\n" + reasons, style="dim")
        elif reasons:
            notes.append((_name(record), reasons))
        cells.append(verdict)
        table.add_row(*cells)
    if notes:
        table.caption = Text("\n".join(f"{name}: {reason}" for name, reason in notes), style="dim")
        table.caption_justify = "left"
    return table


def method_names(fingerprints: set[str]) -> dict[str, str]:
    """Shorten fingerprints to engine and preset, with as much of the hash as tells them apart.

    What is left can be given to ``--method``.
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


def _status_style(status: str) -> str:
    if status == "accepted":
        return "green"
    return "red" if status in ("failed", "unconverged") else "yellow"


def _verdict_cell(verdicts: Mapping[str, Any], narrow: bool) -> Text:
    from rich.text import Text

    names = SHORT | SHORTER if narrow else SHORT
    words = [str(verdicts[target]["status"]) for target in ("surface_energy", "work_function")]
    if words[0] == words[1]:
        return Text(names.get(words[0], words[0]), style=_status_style(words[0]))
    cell = Text()
    for place, word in enumerate(words):
        cell.append(" / " if place else "").append(names.get(word, word), style=_status_style(word))
    return cell


def _reasons(record: Mapping[str, Any]) -> str:
    """Join the reasons of both rejections, or give one if they are the same."""
    lines = []
    for target, symbol in (("surface_energy", "γ"), ("work_function", "Φ")):
        verdict = record["verdicts"][target]
        if verdict["status"] != "accepted" and verdict.get("reason"):
            lines.append((symbol, str(verdict["reason"])))
    if len(lines) == 2 and lines[0][1] == lines[1][1]:
        return lines[0][1]
    return "; ".join(f"{symbol} {reason}" for symbol, reason in lines)


def _name(record: Mapping[str, Any]) -> str:
    return " ".join(
        part for part in (record["formula"], facet_text(record), str(record.get("termination_label") or ""))
        if part
    )  # fmt: skip
