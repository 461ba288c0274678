"""Charts as SVG, drawn by the server: lines, bands and labels over two axes, coloured by the style sheet.

Colours are the classes ``c0`` to ``c7`` of ``static/mgsurf.css``, so that a chart follows the browser's light
or dark scheme; it needs no script.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 54, 24, 42


@dataclass
class Chart:
    """A chart over linear axes.

    Attributes
    ----------
    title
        What it shows, for readers who do not see it.
    x, y
        Ranges of the axes (low, high).
    x_label, y_label
        Axes with their units.
    second
        Label of an axis at the right and the factor from the left axis to it.
    """

    title: str
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str = ""
    y_label: str = ""
    second: tuple[str, float] | None = None
    width: int = 500
    height: int = 300
    _parts: list[str] = field(default_factory=list, repr=False)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point lies in the drawing (px)."""
        return (
            round(_LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.width - _LEFT - _RIGHT), 2),
            round(
                self.height
                - _BOTTOM
                - (y - self.y[0]) / (self.y[1] - self.y[0]) * (self.height - _TOP - _BOTTOM),
                2,
            ),
        )

    def line(
        self, xs: Sequence[float], ys: Sequence[float], classes: str = "c0", name: str = "", link: str = ""
    ) -> None:
        """Draw a line through points; its name is shown under the pointer, and it may be a link."""
        points = " ".join(f"{a},{b}" for a, b in (self.place(x, y) for x, y in zip(xs, ys, strict=True)))
        hint = f"<title>{escape(name)}</title>" if name else ""
        drawn = f'<polyline class="line {escape(classes)}" points="{points}">{hint}</polyline>'
        self._parts.append(f'<a href="{escape(link)}">{drawn}</a>' if link else drawn)

    def point(self, x: float, y: float, classes: str = "c0", name: str = "", link: str = "") -> None:
        """Draw a point."""
        a, b = self.place(x, y)
        hint = f"<title>{escape(name)}</title>" if name else ""
        drawn = f'<circle class="point {escape(classes)}" cx="{a}" cy="{b}" r="4">{hint}</circle>'
        self._parts.append(f'<a href="{escape(link)}">{drawn}</a>' if link else drawn)

    def band(self, low: float, high: float, classes: str = "") -> None:
        """Shade a range of x over the whole height."""
        (left, _), (right, _) = self.place(low, 0), self.place(high, 0)
        top, height = _TOP, self.height - _TOP - _BOTTOM
        self._parts.append(
            f'<rect class="band {escape(classes)}" x="{left}" y="{top}" width="{round(right - left, 2)}" '
            f'height="{height}"/>'
        )

    def level(self, y: float, classes: str = "") -> None:
        """Draw a horizontal line over the whole width."""
        (left, b), (right, _) = self.place(self.x[0], y), self.place(self.x[1], y)
        self._parts.append(
            f'<line class="level {escape(classes)}" x1="{left}" y1="{b}" x2="{right}" y2="{b}"/>'
        )

    def upright(self, x: float, classes: str = "") -> None:
        """Draw a vertical line over the whole height."""
        a, _ = self.place(x, self.y[0])
        low = self.height - _BOTTOM
        self._parts.append(
            f'<line class="level {escape(classes)}" x1="{a}" y1="{_TOP}" x2="{a}" y2="{low}"/>'
        )

    def text(
        self, x: float, y: float, text: str, anchor: str = "middle", classes: str = "", dy: float = 0
    ) -> None:
        """Write a text at a point; `anchor` is start, middle or end, `dy` an offset downwards (px)."""
        a, b = self.place(x, y)
        self._parts.append(
            f'<text class="{escape(classes)}" x="{a}" y="{round(b + dy, 2)}" text-anchor="{escape(anchor)}">'
            f"{escape(text)}</text>"
        )

    def svg(self) -> Markup:
        """Return the chart."""
        left, right, low = _LEFT, self.width - _RIGHT, self.height - _BOTTOM
        axes = []
        for value in ticks(*self.x):
            a, _ = self.place(value, self.y[0])
            axes.append(f'<line class="grid" x1="{a}" y1="{_TOP}" x2="{a}" y2="{low}"/>')
            axes.append(
                f'<text x="{a}" y="{low + 16}" text-anchor="middle">{tick_text(value, *self.x)}</text>'
            )
        for value in ticks(*self.y):
            _, b = self.place(self.x[0], value)
            axes.append(f'<line class="grid" x1="{left}" y1="{b}" x2="{right}" y2="{b}"/>')
            axes.append(
                f'<text x="{left - 6}" y="{b + 4}" text-anchor="end">{tick_text(value, *self.y)}</text>'
            )
        if self.second:
            label, factor = self.second
            bounds = self.y[0] * factor, self.y[1] * factor
            for value in ticks(*bounds):
                _, b = self.place(self.x[0], value / factor)
                axes.append(f'<text x="{right + 6}" y="{b + 4}">{tick_text(value, *bounds)}</text>')
            axes.append(
                f'<text class="label" transform="translate({self.width - 6} {(_TOP + low) / 2}) rotate(-90)" '
                f'text-anchor="middle">{escape(label)}</text>'
            )
        middle = (_TOP + low) / 2
        axes.append(
            f'<text class="label" x="{(left + right) / 2}" y="{self.height - 6}" text-anchor="middle">'
            f"{escape(self.x_label)}</text>"
            f'<text class="label" transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y_label)}</text>"
        )
        frame = f'<rect class="frame" x="{left}" y="{_TOP}" width="{right - left}" height="{low - _TOP}"/>'
        return Markup(  # every text was escaped where it came in
            f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(self.title)}">{"".join(axes)}{"".join(self._parts)}{frame}</svg>'
        )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers between two bounds."""
    step = _step(low, high, about)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _step(low: float, high: float, about: int = 5) -> float:
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)


def tick_text(value: float, low: float, high: float) -> str:
    """Write a number of an axis with as many decimals as its step has."""
    step = _step(low, high)
    decimals = next(d for d in range(12) if abs(round(step, d) - step) < step * 1e-6)
    return f"{value + 0.0:.{decimals}f}".replace("-", "\N{MINUS SIGN}") if abs(value) > step / 1e6 else "0"


def padded(values: Sequence[float], share: float = 0.06, least: float = 1e-6) -> tuple[float, float]:
    """Return a range that holds values with some room (a share of it) on both sides."""
    low, high = min(values), max(values)
    room = max((high - low) * share, least, abs(high) * 1e-6)
    return low - room, high + room
