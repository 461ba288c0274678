"""All figures of Shi et al., J. Magnesium and Alloys (2024), by their numbers, and writing them with data."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from stores.errors import InputError, MgsurfError
from stores.files import write_file
from stores.secrets import masked
from workflows.flows.figures import label_figures, model_figures, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from workflows.flows.figures.inputs import Drawn, FigureInputs


@dataclass(frozen=True)
class FigureKind:
    """A figure of the paper."""

    title: str
    draw: Callable[[FigureInputs], Drawn]


FIGURES: dict[str, FigureKind] = {
    "1a": FigureKind("surface energy and work function, joint density", label_figures.joint_density),
    "2": FigureKind("predictions against DFT", model_figures.parity),
    "3": FigureKind("labels and errors by element", model_figures.errors_by_element),
    "4": FigureKind("correlations of element embeddings", model_figures.element_correlations),
    "5": FigureKind("transfer learning", transfer.transfer),
    "6a": FigureKind("Wulff shapes of compounds left out", model_figures.left_out_shapes),
    "6b": FigureKind("dissolution potential and work function", label_figures.potentials),
    "S1": FigureKind("distributions of the labelled slabs", label_figures.distributions),
    "S3": FigureKind("error and depth of the surface", model_figures.surface_depth),
    "S5": FigureKind("correlations of elements after convolutions", model_figures.convolved_correlations),
}
"""By number, in the paper's order."""


Style = Literal["screen", "paper"]
"""Where figures are shown; their size is that of a printed column either way."""

_DPI = {"screen": 200, "paper": 300}
_ENDINGS = {"screen": (".png",), "paper": (".pdf", ".png")}


@dataclass(frozen=True)
class Written:
    """A figure on disk."""

    number: str
    files: tuple[Path, ...]
    remarks: tuple[str, ...]


def chosen_figures(text: str | None) -> list[str]:
    """Return the numbers in a list such as "1a,S3", in the paper's order; all of them for None.

    Raises
    ------
    InputError
        If a number is none of a figure.
    """
    if text is None:
        return list(FIGURES)
    known = {number.lower(): number for number in FIGURES}
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [part for part in wanted if part.lower() not in known]
    if unknown or not wanted:
        raise InputError(
            f"--only {text}: no figure {', '.join(unknown) or 'named'}; choose among {', '.join(FIGURES)}"
        )
    chosen = {known[part.lower()] for part in wanted}
    return [number for number in FIGURES if number in chosen]


def write_figures(
    numbers: Sequence[str],
    inputs: FigureInputs,
    folder: Path,
    style: Style = "screen",
    *,
    title: bool = True,
    progress: Callable[[int, str], None] | None = None,
) -> tuple[list[Written], list[str]]:
    """Draw figures and write each with its data (CSV) into a folder; files of equal name are replaced.

    Parameters
    ----------
    numbers
        Keys of `FIGURES`.
    inputs
        What they are drawn from.
    folder
        Made with the first figure if it does not exist.
    style, title
        Resolution and formats, and whether figures have a title.
    progress
        Called with the number of figures done and the title of the next.

    Returns
    -------
    written, problems
        One line for each figure, or part of one, whose data are missing, with the command that makes them.
    """
    written, problems = [], []
    for done, number in enumerate(numbers):
        kind = FIGURES[number]
        if progress is not None:
            progress(done, kind.title)
        try:
            drawn = kind.draw(inputs)
        except MgsurfError as error:
            problems.append(masked(f"figure {number}: {error}"))
            continue
        problems += [f"figure {number}: {line}" for line in drawn.missing]
        folder.mkdir(parents=True, exist_ok=True)
        files = _write(drawn, folder / f"figure_{number}", style, kind.title if title else "")
        written.append(Written(number, files, drawn.remarks))
    return written, problems


def _write(drawn: Drawn, stem: Path, style: Style, title: str) -> tuple[Path, ...]:
    from workflows.report.style import printed, printed_files

    if title and drawn.takes_title:
        with printed():
            drawn.figure.suptitle(title)
    files = []
    for ending, content in printed_files(drawn.figure, _ENDINGS[style], _DPI[style]).items():
        files.append(stem.with_name(stem.name + ending))
        write_file(files[-1], content)
    for suffix, rows in drawn.tables.items():
        files.append(stem.with_name(f"{stem.name}{suffix}.csv"))
        write_file(files[-1], _as_csv(rows))
    return tuple(files)


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
