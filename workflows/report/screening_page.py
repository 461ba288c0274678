"""Interactive page of screened compounds: one HTML file that needs nothing else."""

from __future__ import annotations

import json
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from workflows.report.screening import (
    SHOWN_SHARE,
    facet_name,
    potential_with_sigma,
    remarks,
    value_with_sigma,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stores.learning.screenings import ScreeningRecord

_STYLE = """
body { font: 15px/1.45 system-ui, "DejaVu Sans", sans-serif; margin: 1.5rem auto; max-width: 72rem;
  color: #202124; padding: 0 1rem; }
h1 { font-size: 1.35rem; margin: 0 0 .3rem; }
p { margin: .3rem 0 1rem; color: #5f6368; }
#plot { width: 100%; height: 34rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { padding: .3rem .6rem; text-align: left; border-bottom: 1px solid #e8eaed; vertical-align: top; }
th { cursor: pointer; white-space: nowrap; background: #fff; position: sticky; top: 0; }
th:hover { color: #0072b2; }
td:nth-child(5), td:nth-child(7) { min-width: 12rem; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
input { font: inherit; padding: .3rem .5rem; margin: 0 0 .6rem; width: 16rem; max-width: 100%; }
"""

_SCRIPT = """
const rows = document.querySelector("tbody");
document.querySelectorAll("th").forEach((head, column) => head.onclick = () => {
  const up = head.dataset.up !== "1"; head.dataset.up = up ? "1" : "0";
  const value = row => { const cell = row.cells[column]; return cell.dataset.value ?? cell.textContent; };
  [...rows.rows].sort((a, b) => {
    const x = value(a), y = value(b);
    if (x === "") return 1; if (y === "") return -1;
    const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return up ? order : -order;
  }).forEach(row => rows.append(row));
});
document.querySelector("input").oninput = event => {
  const text = event.target.value.toLowerCase();
  for (const row of rows.rows) row.hidden = !row.textContent.toLowerCase().includes(text);
};
"""


def check_installed() -> None:
    """Raise an InputError that names the command if plotly is not installed."""
    if find_spec("plotly") is None:
        raise InputError('the page needs plotly; install it with pip install "mgsurf[screening]"')


def screening_page(records: Sequence[ScreeningRecord]) -> str:
    """Return the page: work function against potential with details on hover, and a table that sorts.

    Raises
    ------
    InputError
        If plotly is not installed, or nothing was screened.
    """
    check_installed()
    import plotly.graph_objects as go
    from plotly.offline import get_plotlyjs

    if not records:
        raise InputError("no compound to show; widen the filters")
    known = [r for r in records if r.potential is not None and r.work_function is not None]
    groups = {
        "elements": [r for r in known if len(r.cations) == 1],
        "metallic compounds": [r for r in known if len(r.cations) > 1 and not r.semiconductor],
        "semiconductors": [r for r in known if len(r.cations) > 1 and r.semiconductor],
    }
    figure = go.Figure()
    for (name, members), color in zip(groups.items(), ("#D55E00", "#0072B2", "#009E73"), strict=True):
        if members:
            figure.add_scatter(
                x=[r.work_function for r in members],
                y=[r.potential for r in members],
                error_x={
                    "array": [r.work_function_sigma or 0 for r in members],
                    "color": "#c6cace",
                    "thickness": 1,
                },
                error_y={
                    "array": [r.potential_sigma or 0 for r in members],
                    "color": "#c6cace",
                    "thickness": 1,
                },
                mode="markers",
                marker={"color": color, "size": 8, "symbol": "square" if name == "elements" else "circle"},
                name=name,
                text=[_details(r) for r in members],
                hovertemplate="%{text}<extra></extra>",
            )
    figure.update_layout(
        template="simple_white",
        margin={"l": 60, "r": 20, "t": 70, "b": 55},
        xaxis_title="Wulff-weighted work function (eV)",
        yaxis_title="dissolution potential (V against SHE)",
        showlegend=True,
        # below the tools, which phones show all the time
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.01, "x": 0},
    )
    plot = json.loads(figure.to_json())
    head = ("compound", "γ (eV/Å²)", "Φ (eV)", "E (V vs SHE)", "facets", "values", "remarks")
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Screened compounds</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{_STYLE}</style><script>{get_plotlyjs()}</script></head><body>",
            f"<h1>Screened compounds</h1><p>{_caption(records)}</p>",
            '<div id="plot"></div>' if known else "",
            '<input type="search" placeholder="filter: formula, facet, remark" aria-label="filter">',
            '<div class="scroll"><table><thead><tr>',
            "".join(f"<th>{escape(name)}</th>" for name in head),
            "</tr></thead><tbody>",
            *(_row(record) for record in records),
            "</tbody></table></div>",
            f"<script>const figure = {_script_json(plot)};"
            + (
                'Plotly.newPlot("plot", figure.data, figure.layout, {responsive: true, displaylogo: false});'
                if known
                else ""
            )
            + f"{_SCRIPT}</script></body></html>",
        ]
    )


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c")


def _caption(records: Sequence[ScreeningRecord]) -> str:
    models = sorted({r.model for r in records if r.model})
    by = f"; facets with a star are predicted by {escape(', '.join(models))}" if models else ""
    sources = sorted({r.energy_source for r in records if r.potential_sigma is not None})
    energies = f"; E with ± rests on a formation energy by {escape(', '.join(sources))}" if sources else ""
    return (
        f"{len(records)} compounds. Surface energy γ and work function Φ are averages over the area of the "
        f"Wulff shape, ± one standard deviation; E is the equilibrium potential of dissolution{by}{energies}."
    )


def _details(record: ScreeningRecord) -> str:
    lines = [
        f"<b>{escape(record.label)}</b>",
        f"Φ {value_with_sigma(record.work_function, record.work_function_sigma)} eV",
    ]
    lines.append(f"γ {value_with_sigma(record.surface_energy, record.surface_energy_sigma)} eV/Å²")
    lines.append(f"E {potential_with_sigma(record)} V as {', '.join(record.cations)}")
    return "<br>".join([*lines, *(escape(line) for line in _facets(record)[:6])])


def _facets(record: ScreeningRecord) -> list[str]:
    return [
        f"{facet_name(record, facet)} {facet.termination} {100 * facet.area_fraction:.0f} %"
        for facet in record.facets
        if facet.area_fraction >= SHOWN_SHARE
    ]


def _row(record: ScreeningRecord) -> str:
    numbers = (
        (record.surface_energy, value_with_sigma(record.surface_energy, record.surface_energy_sigma)),
        (record.work_function, value_with_sigma(record.work_function, record.work_function_sigma)),
        (record.potential, potential_with_sigma(record)),
    )
    cells = "".join(
        f'<td class="number" data-value="{"" if value is None else value}">{escape(text)}</td>'
        for value, text in numbers
    )
    sources = sorted({facet.source for facet in record.facets})
    rest = (", ".join(_facets(record)), ", ".join(sources), "; ".join(remarks(record)))
    return f"<tr><td>{escape(record.label)}</td>{cells}{''.join(f'<td>{escape(t)}</td>' for t in rest)}</tr>"
