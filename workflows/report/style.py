"""Shared style of all figures: fonts, colours safe for colour-blind readers, and the names of facets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from stores.verdicts import verdict_status
from workflows.structures.naming import bravais_indices, format_miller

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#8C6D31")
"""Okabe and Ito's colours (jfly.uni-koeln.de/color) without yellow and black, and two darker ones."""

LINE_STYLES = ("-", (0, (5, 2)), (0, (1, 1.3)), (0, (6, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#5F6368"
LIGHT = "#D8DADD"

_DPI = 160

# Any: matplotlib types the keys as a list of literals that a dict literal does not infer to
_SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.labelsize": 9.5,
    "axes.titlesize": 10.5,
    "axes.edgecolor": "#3C4043",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E8EAED",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "mathtext.fontset": "dejavusans",
}

SINGLE_COLUMN = 8.6 / 2.54
DOUBLE_COLUMN = 17.8 / 2.54  # widths of figures in a journal of two columns (inches)

# of figures that are drawn at their printed size
_PRINTED: Any = {
    **_SETTINGS,
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7.5,
    "figure.titlesize": 8,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
}

SYMBOLS = {"surface_energy": "γ", "work_function": "Φ"}
GAMMA_LABEL = r"surface energy $\gamma$ (eV/Å$^2$)"
GAMMA_J_LABEL = r"$\gamma$ (J/m$^2$)"
PHI_LABEL = r"work function $\Phi$ (eV)"


def new_figure(width: float, height: float) -> Figure:
    """Make a figure of the given size (inches) that needs no display and keeps no global state."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes given, else those of a new figure of this size (inches)."""
    return new_figure(width, height).subplots() if ax is None else ax


def figure_of(axes: Axes) -> Figure:
    """Return the figure of axes, of nested ones the outermost."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def add_legend(axes: Axes, ax: Axes | None, place: str, **options: Any) -> None:
    """Put a legend beside the axes of a figure of their own, or inside axes that were given (`ax`)."""
    if ax is None:
        outside: Any = f"outside {place}"  # matplotlib types the places as literals
        figure_of(axes).legend(loc=outside, **options)
    else:
        axes.legend(**options)


def styled() -> Any:
    """Context in which axes take the shared style; axes read it when they are made."""
    import matplotlib as mpl

    return mpl.rc_context(_SETTINGS)


def printed() -> Any:
    """Context in which axes take the shared style at the size of a printed column."""
    import matplotlib as mpl

    return mpl.rc_context(_PRINTED)


def add_panel_letters(panels: Sequence[Axes]) -> None:
    """Write (a), (b), ... at the upper left of axes, outside them."""
    for letter, axes in zip("abcdefghijklmnop", panels, strict=False):
        axes.set_title(f"({letter})", loc="left", fontweight="bold")


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure in the format of the name's ending, PNG by default, with nothing cut off."""
    with styled():
        figure.savefig(path, dpi=_DPI, bbox_inches="tight", pad_inches=0.08)


def printed_files(figure: Figure, endings: Sequence[str], dpi: int) -> dict[str, bytes]:
    """Return a figure at exactly its size, as ``.png`` or ``.pdf`` with its fonts and without a date.

    All formats have one layout, which is found once.
    """
    import io

    import matplotlib as mpl

    files = {}
    with mpl.rc_context({**_PRINTED, "pdf.fonttype": 42}):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for ending in endings:
            content = io.BytesIO()
            metadata = {"CreationDate": None} if ending == ".pdf" else None
            figure.savefig(content, dpi=dpi, format=ending[1:], metadata=metadata)
            files[ending] = content.getvalue()
    return files


def facet_indices(record: Mapping[str, Any]) -> tuple[int, ...]:
    """Miller index in the usual notation: hkil for trigonal and hexagonal crystals, otherwise hkl."""
    return bravais_indices(record["miller_index"], int(record.get("spacegroup_number") or 0))


def miller_mathtext(indices: Sequence[int]) -> str:
    r"""Write a Miller index for matplotlib with overbars: (1 0 -1) becomes ``$(10\overline{1})$``."""
    if not any(indices):  # unknown plane of an external slab
        return "(?)"
    separator = r"\," if any(abs(i) > 9 for i in indices) else ""
    return "$(" + separator.join(rf"\overline{{{-i}}}" if i < 0 else str(i) for i in indices) + ")$"


def formula_mathtext(formula: str) -> str:
    """Write a formula with its numbers lowered: Mg17Al12 becomes ``Mg$_{17}$Al$_{12}$``."""
    return re.sub(r"(\d+(?:\.\d+)?)", r"$_{\1}$", formula)


def facet_mathtext(record: Mapping[str, Any], with_formula: bool = False) -> str:
    """Name a facet in a figure, e.g. "MgAg (100) Ag"."""
    parts = [formula_mathtext(record["formula"])] if with_formula else []
    label = str(record.get("termination_label") or "")
    if label == record["formula"]:  # all layers are alike
        label = ""
    parts += [miller_mathtext(facet_indices(record)), _label_mathtext(label)]
    return " ".join(part for part in parts if part)


def facet_text(record: Mapping[str, Any]) -> str:
    """Name a facet's plane in plain text, e.g. "(10-10)"."""
    return format_miller(facet_indices(record))


def _label_mathtext(label: str) -> str:
    name, dash, suffix = label.partition("-")
    return formula_mathtext(name) + dash + suffix


def signed(value: float, digits: int) -> str:
    """Write a number with a typographic minus."""
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def is_accepted(record: Mapping[str, Any], *targets: str) -> bool:
    """Whether every target of the record has a value and an accepted verdict."""
    return all(record.get(t) is not None and verdict_status(record, t) == "accepted" for t in targets)


def add_joule_axis(axes: Axes, horizontal: bool = False) -> None:
    """Show a surface energy axis (eV/A^2) in J/m^2 on the opposite side too."""
    from workflows.analysis.surface_energy import EV_PER_A2_IN_J_PER_M2 as FACTOR

    def to_joule(x: Any) -> Any:
        return x * FACTOR

    def to_ev(x: Any) -> Any:
        return x / FACTOR

    if horizontal:
        axes.secondary_xaxis("top", functions=(to_joule, to_ev)).set_xlabel(GAMMA_J_LABEL)
    else:
        axes.secondary_yaxis("right", functions=(to_joule, to_ev)).set_ylabel(GAMMA_J_LABEL)


def sort_key(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Order of facets in tables and figures: compound, then low indices first, then termination."""
    index = tuple(int(i) for i in record["miller_index"])
    return (
        record["formula"],
        sum(abs(i) for i in index),
        tuple(abs(i) for i in index),
        tuple(-i for i in index),
        record.get("termination") or 0,
    )
