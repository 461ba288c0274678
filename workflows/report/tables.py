"""Surface records as a table for people and as rows for programs; light enough for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.report.style import facet_text, sort_key
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


def surface_table(records: Iterable[Mapping[str, Any]], title: str = "", sort: bool = True) -> Table:
    """Table of facets with surface energies in both units, work functions and verdicts.

    Parameters
    ----------
    records
        Documents as stored.
    title
        Heading.
    sort
        By compound, plane and termination; False keeps the order given (a query's own sorting).

    Returns
    -------
    Table
        The reasons of rejections below it. The method has a column of its own if there are several.
    """
    from rich.text import Text

    listed = list(records)
    if sort:
        listed.sort(key=sort_key)
    methods = method_names({str(record.get("method_fingerprint") or "?") for record in listed})
    # that of an imported slab names its source
    several_methods = len(methods) > 1 or any(record.get("source") for record in listed)
    columns = facet_columns()
    for end in ("Mg-rich", "X-rich"):
        columns += [
            Column(f"γ {end}\neV/Å²", right=True),
            Column(f"γ {end}\nJ/m²", right=True, spare=True),
        ]
    columns.append(Column("Φ\neV", right=True))
    if several_methods:
        columns.append(Column("method"))
    columns.append(Column("verdict γ / Φ", wrap=True))
    table = Table(columns, title)
    for record in listed:
        verdicts = record["verdicts"]
        gamma_style = _value_style(verdicts["surface_energy"]["status"])
        cells = facet_cells(record)
        for name in ("surface_energy", "surface_energy_x_rich"):
            value = record.get(name)
            joule = None if value is None else value * EV_PER_A2_IN_J_PER_M2
            cells += [Text(_number(value, 4), style=gamma_style), Text(_number(joule, 3), style=gamma_style)]
        phi_style = _value_style(verdicts["work_function"]["status"])
        cells.append(Text(_number(record.get("work_function"), 3), style=phi_style))
        if several_methods:
            cells.append(Text(methods[str(record.get("method_fingerprint") or "?")]))
        table.add_row(*cells, _verdict_cell(verdicts))
        if reasons := _reasons(record):
            table.notes.append(f"{_name(record)}: {reasons}")
    return table


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


def status_style(status: str) -> str:
    """Colour of a verdict."""
    if status == "accepted":
        return "green"
    return "red" if status in ("failed", "unconverged") else "yellow"


def _verdict_cell(verdicts: Mapping[str, Any]) -> Text:
    from rich.text import Text

    words = [str(verdicts[target]["status"]) for target in ("surface_energy", "work_function")]
    cell = Text()
    for word in words[:1] if words[0] == words[1] else words:
        cell.append(" / " if cell.plain else "").append(word.replace("_", " "), style=status_style(word))
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
