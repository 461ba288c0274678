"""How formulas, planes, numbers and verdicts are written on pages; every text is escaped."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup, escape

from workflows.analysis.surface_energy import EV_PER_A2_IN_J_PER_M2
from workflows.report.style import facet_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MISSING = "–"


def formula(text: object) -> Markup:
    """Write a formula with lowered numbers: Mg<sub>17</sub>Al<sub>12</sub>."""
    return Markup(re.sub(r"(?<=[A-Za-z)])(\d+(?:\.\d+)?)", r"<sub>\1</sub>", str(escape(text))))


def ion(text: object) -> Markup:
    """Write a cation with its raised charge: Mg<sup>2+</sup>."""
    return Markup(re.sub(r"(\d*\+)$", r"<sup>\1</sup>", str(escape(text))))


def space_group(symbol: object) -> Markup:
    """Write a Hermann-Mauguin symbol with lowered screw axes and barred inversion axes: P6_3/mmc, Pm-3m."""
    lowered = re.sub(r"_(\d)", r"<sub>\1</sub>", str(escape(symbol)))
    return Markup(re.sub(r"-(\d)", r'<span class="bar">\1</span>', lowered))


def indices(values: Sequence[int]) -> Markup:
    """Write a Miller index in parentheses with overbars; (000) is a plane that is not known: (?)."""
    if not any(values):
        return Markup("(?)")
    gap = "\u2009" if any(abs(i) > 9 for i in values) else ""
    parts = [f'<span class="bar">{-int(i)}</span>' if i < 0 else str(int(i)) for i in values]
    return Markup("(" + gap.join(parts) + ")")


def plane(record: Mapping[str, Any]) -> Markup:
    """Write the plane of a record: hkil for trigonal and hexagonal crystals, otherwise hkl."""
    return indices(facet_indices(record))


def termination(record: Mapping[str, Any]) -> Markup:
    """Write the termination of a record, such as Mg<sub>2</sub>Zn-b."""
    label = record.get("termination_label")
    name, dash, suffix = str(label if label not in (None, "") else record.get("termination", "")).partition(
        "-"
    )
    return formula(name) + dash + suffix


def number(value: float | None, decimals: int) -> str:
    """Write a number with a typographic minus; a dash where there is none."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return MISSING
    return f"{value:.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def joule(value: float | None) -> str:
    """Write a surface energy (eV/A^2) in J/m^2."""
    return number(value * EV_PER_A2_IN_J_PER_M2, 3) if isinstance(value, (int, float)) else MISSING


def words(status: object) -> str:
    """Write a verdict or another name of the code in words: vacuum not flat."""
    return str(status).replace("_", " ")


def tone(status: object) -> str:
    """Return the colour class of a verdict, as on the terminal: good, bad or fair."""
    if status in ("accepted", "ok"):
        return "good"
    return "bad" if status in ("failed", "unconverged") else "fair"


def when(text: object) -> str:
    """Write a stored time (ISO 8601, UTC) to the minute: 2026-01-31 12:00."""
    return str(text or "")[:16].replace("T", " ")


def segment(text: object) -> str:
    """Quote a text as one segment of a URL's path."""
    return quote(str(text), safe="")


FILTERS: dict[str, Callable[..., Any]] = {
    "formula": formula,
    "ion": ion,
    "space_group": space_group,
    "indices": indices,
    "plane": plane,
    "termination": termination,
    "number": number,
    "joule": joule,
    "words": words,
    "tone": tone,
    "when": when,
    "segment": segment,
}
"""Filters of the templates, by name."""
