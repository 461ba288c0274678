"""What the commands of the network share: options, the check for torch, labelled slabs, progress."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stores.errors import InputError, StoreError, install_command
from stores.paths import expand_user
from workflows.cli.completion import models_and_folders
from workflows.cli.options import JsonOption, MethodOption, OutputOption, QuietOption, StoreOption
from workflows.execution.progress_bar import show_in_open_bar
from workflows.flows.learning.labelled_datasets import labelled_datasets
from workflows.report.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from model.training.ablation import Step
    from model.training.runs import Datasets, Transfer
    from model.training.train import Progress
    from workflows.execution.progress_bar import ProgressBar

    Found = tuple[Path, dict[str, Any]]
    """Folder of a model, and the settings that it was trained with."""

DEFAULT_PRESET = "sem-cgcnn"
PRESETS = (
    "stl-surface-energy, stl-work-function, mtl, gradnorm, surface, sem-cgcnn (the paper), best, best-angles "
    "of crystals, or mcvn of compositions"
)
_transfer_option = partial(typer.Option, rich_help_panel="Transfer")
FROM_SCRATCH = "none"  # what --from takes for no model at all

OF_SETS = {"mae": "MAE", "rmse": "RMSE", "r2": "R²"}
"""Errors that each set has; of test sets there are those of `OF_TEST`, too."""

OF_CLASSES = {"log_loss": "log loss", "accuracy": "accuracy", "macro_f1": "mean F1", "roc_auc": "ROC AUC"}
"""Scores of targets that are classes."""

OF_TEST = {"macro_mae": "MAE over systems", "coverage_90": "in the 90 % interval"}
SHARES = ("r2", "coverage_90")  # numbers without a unit, about one

SeedOption = Annotated[int, typer.Option(min=0, max=2**32 - 1, metavar="N", help="Of split and training.")]
EpochsOption = Annotated[int | None, typer.Option(min=1, metavar="N", help="Instead of the preset's.")]
TargetsOption = Annotated[
    str | None, typer.Option(metavar="NAMES", help="Instead of the preset's: formation_energy,band_gap.")
]
MembersOption = Annotated[int, typer.Option(min=1, metavar="N", help="Networks of an ensemble.")]


@dataclass(frozen=True)
class TrainingOptions:
    """Sets that labelled slabs are divided into, and length of each training."""

    split: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="random, compound, chemsys, element (one left out), element:Ag, compound:MgCo2, or a CSV "
            "file (record_id,part).",
        ),
    ] = "random"
    twins: Annotated[
        Literal["drop", "move"] | None,
        typer.Option(
            help="What to do about identical slabs that a --split file has in two sets: leave out the copies "
            "in the earlier set, or move all into the later; without it such a file is refused."
        ),
    ] = None
    epochs: EpochsOption = None

    def settings(self) -> dict[str, Any]:
        """Return them as arguments of `model.training.runs.RunSettings`."""
        return {"split": self.split, "twins": self.twins or "", "epochs": self.epochs}


@dataclass(frozen=True)
class PretrainedModel:
    """Trained model that a training starts from."""

    start: Annotated[
        str | None,
        _transfer_option(
            "--from",
            metavar="MODEL",
            autocompletion=models_and_folders,
            help="Start from this trained model: a folder, champion, latest, v3, or pretrained:NAME "
            "(mgsurf pretrain). none: from scratch.",
        ),
    ] = None
    freeze: Annotated[
        str | None,
        _transfer_option(
            metavar="PART",
            help="Keep as it is: embedding, convolutions (with the embedding), body (and pooling), "
            "all-but-nodes, all-but-edges, all-but-last or none.",
        ),
    ] = None
    reset_heads: Annotated[
        bool,
        _transfer_option("--reset-heads", help="Reinitialise all output heads."),
    ] = False

    def load(
        self, stores: Sequence[str | None], offered: Callable[[], Found | None] = lambda: None
    ) -> tuple[Transfer | None, dict[str, Any]]:
        """Return the start and the settings that it was trained with; (None, {}) without a model.

        Parameters
        ----------
        stores
            Of the labels; their registries hold the models that are no folders.
        offered
            Returns the folder and the settings of a model to start from without ``--from``, if any.

        Raises
        ------
        InputError
            If there is no such model, or the other options are given without one.
        """
        from workflows.cli.access import registered_start

        if self.start == "":
            raise InputError("--from: is empty; name a model, or none for a training from scratch")
        name = None if self.start == FROM_SCRATCH else self.start
        known = offered() if self.start is None else registered_start(name, stores) if name else None
        if name is None and known is None:
            if self.freeze is not None or self.reset_heads:
                raise InputError("--freeze and --reset-heads need a model to start from: --from MODEL")
            return None, {}
        from model.training.runs import Transfer, read_run

        folder = known[0] if known is not None else expand_user(name or "", "--from")
        transfer = Transfer.of(folder, self.freeze or "none", reset_heads=self.reset_heads)
        if known is not None:
            return replace(transfer, offered=self.start is None), known[1]
        run = read_run(folder) or read_run(folder.parent)
        return transfer, dict(run["settings"]) if run is not None else {}


@dataclass(frozen=True)
class StudyOptions:
    """Data and output of a command that makes many trainings."""

    store: StoreOption = None
    method: MethodOption = None
    output: OutputOption = None
    quiet: QuietOption = False
    as_json: JsonOption = False

    def slabs(self) -> Datasets:
        """Return the labelled slabs."""
        return labelled_slabs([self.store], self.method)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an error of the operating system into a line with the folder that was written to."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error}); free space and repeat") from error


def run_folder(output: Path | None, default: Path) -> Path:
    """Return the folder of ``--output``; an InputError if it is a file."""
    folder = output or default
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; --output takes a folder")
    return folder


def target_names(text: str | None) -> list[str]:
    """Split ``--targets`` at its commas; empty without the option."""
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if text is not None and not names:
        raise InputError("--targets: names nothing; write surface_energy,work_function")
    return names


def three_digits(value: float | None, *, share: bool = False) -> str:
    """Write a number with three significant digits, a share with three decimals, a hyphen for None."""
    from workflows.report.training_figures import significant

    return "-" if value is None else f"{value:.3f}" if share else significant(value)


def errors_table(metrics: Mapping[str, Mapping[str, Any]], heading: str, noun: str = "slab") -> Table:
    """Table of the errors of a training, by target, in training, validation and test set."""
    from workflows.report.training_figures import PART_NAMES, add_unit, target_name

    names = (f"{noun}s", *OF_SETS.values(), *OF_TEST.values())
    columns = [Column(heading, wrap=True, once=True), Column("set")]
    table = Table([*columns, *(Column(name, right=True) for name in names)])
    for target, found in metrics.items():
        for part in (name for name in PART_NAMES if name in found):
            of_test = {key: three_digits(found.get(key), share=key in SHARES) for key in OF_TEST}
            table.add_row(
                add_unit(target_name(target), target, found.get("unit")),
                PART_NAMES[part],
                str(found[part]["n"]),
                *(three_digits(found[part].get(key), share=key in SHARES) for key in OF_SETS),
                *(of_test.values() if part == "test" else [""] * len(OF_TEST)),
                style="bold" if part == "test" else "",
            )
    return table


def classes_table(
    found: Mapping[str, Mapping[str, Any]], noun: str = "slab", heading: str = "target"
) -> Table:
    """Table of how well classes are predicted, by target, in training, validation and test set."""
    from workflows.report.training_figures import PART_NAMES, target_name

    columns = [Column(heading, wrap=True, once=True), Column("set")]
    names = (f"{noun}s", *OF_CLASSES.values())
    table = Table([*columns, *(Column(name, right=True) for name in names), Column("F1", wrap=True)])
    for target, metrics in found.items():
        for part, words in PART_NAMES.items():
            errors = metrics[part]
            table.add_row(
                target_name(target),
                words,
                str(errors["n"]),
                *(three_digits(errors.get(key), share=True) for key in OF_CLASSES),
                ", ".join(f"{name} {three_digits(f1, share=True)}" for name, f1 in errors["f1"].items()),
                style="bold" if part == "test" else "",
            )
    return table


def mean_and_spread(value: Mapping[str, float | None], decimals: int) -> str:
    """Write mean ± standard deviation with so many decimals, a hyphen without a mean."""
    if value["mean"] is None:
        return "-"
    mean = f"{value['mean']:.{decimals}f}"
    return mean if value["spread"] is None else f"{mean} ± {value['spread']:.{decimals}f}"


def require_network(*more: str) -> None:
    """Check that torch can be imported, and `more` packages; else an InputError names the remedy."""
    from importlib import import_module

    for name in ("torch", *more):
        try:
            import_module(name)
        except ImportError as error:
            reason = "is not installed" if isinstance(error, ModuleNotFoundError) else f"is broken ({error})"
            raise InputError(
                f"this command needs {name}, which {reason}: {install_command('model')}"
            ) from error


def labelled_slabs(
    stores: Sequence[str | None], method: str | None, snapshot: str | None = None, *, separate: bool = False
) -> Datasets:
    """Return the labelled slabs of stores as `labelled_datasets` does, with progress on the open bar."""
    return labelled_datasets(stores, method, snapshot, separate=separate, tick=show_in_open_bar)


@contextmanager
def each_line_once() -> Iterator[None]:
    """Log each warning of the runs once, however many of them repeat it."""
    logged: set[str] = set()

    def new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        known = text in logged
        logged.add(text)
        return not known

    log = logging.getLogger("model.training.runs")
    log.addFilter(new)
    try:
        yield
    finally:
        log.removeFilter(new)


class TrainingProgress:
    """Loss and time left of one or many trainings, shown on a bar."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._start = monotonic()
        self._trained = 0.0
        bar.show("reading slabs")

    def member(self, members: int) -> Callable[[int, Progress], None]:
        """Return the callback of a run with so many members."""
        return lambda number, line: self._show("", number / members, 1 / members, line)

    def step(self, step: Step) -> None:
        """Show a step of many runs, see `model.training.ablation.ablate`."""
        name = f"{step.number + 1}/{step.total} {step.run.label()}"
        if step.line is None:
            self._bar.show("training", step.number, step.total, name, count="")
            return
        members = step.run.members
        before = (step.number + step.member / members) / step.total
        self._show(f"{name}, ", before, 1 / (step.total * members), step.line)

    def _show(self, name: str, before: float, share: float, line: Progress) -> None:
        """Show an epoch of a training that makes up `share` of the whole, of which `before` was done."""
        done = before + share * line.epoch.epoch / line.epochs
        if not self._trained:
            self._start = monotonic() - line.epoch.seconds  # reading the data is no part of the pace
        # by the trainings of this call alone: finished runs that were only read cost no time
        self._trained += share / line.epochs
        # after the last epoch come trees, calibration and errors: half a minute with thousands of slabs
        last = line.epoch.epoch == line.epochs
        at = "finishing" if last else f"epoch {line.epoch.epoch}/{line.epochs}"
        loss = f"loss {sum(line.epoch.loss.values()):.3f}, val {line.epoch.score:.3f}"
        left = 0.0 if last and done > 0.999 else (1 - done) / self._trained * (monotonic() - self._start)
        self._bar.show("training", done, 1.0, f"{name}{at}, {loss}", count=f"{done:.0%}", seconds_left=left)
