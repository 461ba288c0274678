"""What replays of acquisition add up to: error against slabs revealed, and slabs that a strategy saves."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Round = Mapping[str, Any]

RANDOM = "random"
SCORE = "score"
"""Name of the error over all targets: MAE in standard deviations of the hold-out's labels, their mean."""


def curve(rounds: Sequence[Round], strategy: str) -> list[dict[str, Any]]:
    """Average a strategy's rounds over seeds.

    Returns
    -------
    list of dict
        ``strategy``, ``slabs``, ``share``, ``seeds`` (how many) and ``errors``: mean and spread (standard
        deviation over seeds, None for one) by target and for `SCORE`; ``front`` likewise. Fewest slabs first.
    """
    by_size = defaultdict(list)
    for line in rounds:
        if line["strategy"] == strategy:
            by_size[line["slabs"]].append(line)
    points = []
    for slabs, lines in sorted(by_size.items()):
        names = [*lines[0]["mae"], SCORE]
        fronts = [line["front"] for line in lines if line["front"] is not None]
        points.append(
            {
                "strategy": strategy,
                "slabs": slabs,
                "share": lines[0]["share"],
                "seeds": len(lines),
                "errors": {
                    name: _mean_and_spread([error_of(line, name) for line in lines]) for name in names
                },
                "front": _mean_and_spread(fronts),
            }
        )
    return points


def error_of(line: Round, name: str) -> float:
    """Return the error of a round, of one target or over all (`SCORE`)."""
    return float(line[SCORE] if name == SCORE else line["mae"][name])


def savings(rounds: Sequence[Round], reference: float) -> list[dict[str, Any]]:
    """Count the slabs that each strategy needs for the error that random has reached at its end.

    Slabs are counted from after the start set, which all strategies of a seed share and none has chosen.

    Parameters
    ----------
    rounds
        As `model.simulation.simulate` returns them.
    reference
        Slabs at which random sets the mark; its curve is interpolated there.

    Returns
    -------
    list of dict
        By strategy and error (`SCORE` first): ``strategy``, ``error``, ``mark`` (random's error at the
        reference), ``slabs`` (from which on the mean curve stays at or below the mark, as far as the
        reference, the start set included; None: never), ``ratio`` (those chosen after the start over those
        that random chose after it), ``ratios`` (of single seeds against random with the same seed; None:
        never). Empty where random has not been replayed that far, or no further than the start set.
    """
    base = curve(rounds, RANDOM)
    if not base or base[-1]["slabs"] < reference or reference <= base[0]["slabs"]:
        return []
    found = []
    for strategy in dict.fromkeys(line["strategy"] for line in rounds):
        points = curve(rounds, strategy)
        for name in (SCORE, *(n for n in points[0]["errors"] if n != SCORE)):
            mark = _line(base, name, reference)[-1][1]
            slabs = reached(_line(points, name, reference), mark)
            found.append(
                {
                    "strategy": strategy,
                    "error": name,
                    "mark": mark,
                    "slabs": slabs,
                    "ratio": _ratio(slabs, base[0]["slabs"], reference),
                    "ratios": _seed_ratios(rounds, strategy, name, reference),
                }
            )
    return found


def reached(points: Sequence[tuple[float, float]], mark: float) -> float | None:
    """Return from where on a curve stays at or below a mark, between points along straight lines.

    Parameters
    ----------
    points
        (slabs, error), ascending in slabs.
    mark
        An error.

    Returns
    -------
    float or None
        None if the last point lies above.
    """
    tolerance = 1e-12 * abs(mark)  # a curve that sets the mark reaches it
    if not points or points[-1][1] > mark + tolerance:
        return None
    where = points[0][0]
    for (x0, y0), (x1, y1) in pairwise(points):
        if y0 > mark + tolerance >= y1:
            where = x0 + (x1 - x0) * (y0 - mark) / (y0 - y1)
    return min(float(where), float(points[-1][0]))


def _seed_ratios(rounds: Sequence[Round], strategy: str, name: str, reference: float) -> list[float | None]:
    ratios: list[float | None] = []
    for seed in sorted({line["seed"] for line in rounds if line["strategy"] == strategy}):
        own = [line for line in rounds if line["seed"] == seed]
        base = _line(curve(own, RANDOM), name, reference)
        if not base or base[-1][0] < reference:
            continue
        slabs = reached(_line(curve(own, strategy), name, reference), base[-1][1])
        ratios.append(_ratio(slabs, base[0][0], reference))
    return ratios


def _ratio(slabs: float | None, start: float, reference: float) -> float | None:
    """Return the share of the slabs that random chose after the start; at most 0 where the start suffices."""
    return None if slabs is None else (slabs - start) / (reference - start)


def _line(points: Sequence[Mapping[str, Any]], name: str, until: float) -> list[tuple[float, float]]:
    """Return (slabs, error) up to a number of slabs, where the curve is interpolated."""
    line = [(float(point["slabs"]), float(point["errors"][name]["mean"])) for point in points]
    kept = [point for point in line if point[0] < until]
    if line and line[-1][0] >= until:
        slabs, errors = zip(*line, strict=True)
        kept.append((float(until), float(np.interp(until, slabs, errors))))
    return kept


def _mean_and_spread(values: Sequence[float]) -> dict[str, float | None]:
    if not values:
        return {"mean": None, "spread": None}
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "spread": spread}
