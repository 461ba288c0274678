"""One training from data to judgement, in a folder that is resumed or read when run again.

A run folder holds ``run.json`` (settings, metrics, history; written last: a folder with it is finished),
``model/`` (see `model.training.ensemble_files`), ``predictions.csv``, ``split.csv`` (readable as
``--split FILE``) and ``training/`` (state of an unfinished training, TensorBoard scalars).
"""

from __future__ import annotations

import csv
import io
import json
import logging
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from model.data.dataset import noun_of
from model.data.provenance import NOTE, seen_before, this_training, trainings_of
from model.data.splits import PARTS, Split, k_fold, part_of_training, split_dataset, write_split
from model.evaluation.class_metrics import add_log_loss, evaluate_classes
from model.evaluation.metrics import evaluate, prediction_rows, total_loss
from model.evaluation.permutation import permutation_importance
from model.network.composition_network import CompositionConfig
from model.training.checked_json import REMEDY, read_json, write_json, write_text
from model.training.checkpoint import code_version, library_versions, load_model, written_by
from model.training.ensemble import train_ensemble
from model.training.ensemble_files import load_ensemble, save_ensemble
from model.training.inputs import check_kind
from model.training.presets import find_preset, with_params
from model.training.processes import check_processes
from model.training.source import descriptors_key
from model.training.transfer import Adaptation, Start, new_elements, weights_key
from model.training.validation_labels import predict_unseen, with_validation_labels
from stores.errors import InputError, refusing
from stores.files import in_use, locked
from stores.records import content_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from model.baselines.blend import DescriptorModels
    from model.data.dataset import Dataset
    from model.graphs.graph import GraphSettings
    from model.training.checkpoint import TrainedModel
    from model.training.presets import Preset
    from model.training.train import Progress

    Datasets = Callable[[GraphSettings, tuple[str, ...]], Dataset]
    """Returns the data set with the graphs and the targets of a preset."""

LOG = logging.getLogger(__name__)

FORMAT = "mgsurf run 1"
LOCK = "run.lock"  # held by the process that trains in the folder
_LOCK_WAIT = 0.2  # s; longer than a look at the lock (`in_work`) keeps it

FEWEST_SLABS = 15  # labelled slabs below which no set would be worth its name


@dataclass(frozen=True)
class Transfer:
    """The pre-trained model of a run: its folder, the hash of its weights, and how training uses it."""

    folder: Path  # of the pre-trained model; does not distinguish runs
    key: str  # hash of its weights
    descriptors: str = ""  # hash of the trees and the process beside them, if any
    # freeze, reset_heads: see `Start`
    freeze: str = "none"
    reset_heads: bool = False
    adaptation: Adaptation = field(default_factory=Adaptation)
    targets: tuple[str, ...] = ()  # of the model; does not distinguish runs
    # chosen by default: not used where it has seen validation or test set; does not distinguish runs
    offered: bool = False

    @classmethod
    def of(
        cls,
        folder: Path,
        freeze: str = "none",
        *,
        reset_heads: bool = False,
        adaptation: Adaptation | None = None,
    ) -> Self:
        """Hash the weights in a folder of `mgsurf train`; InputError if damaged or no such choice."""
        models, beside = _models(folder)
        Start(models[0], freeze)  # wrong arguments are reported before any data are read
        return cls(
            folder,
            weights_key(models),
            descriptors_key(beside),
            freeze,
            reset_heads,
            adaptation or Adaptation(),
            models[0].targets,
        )

    def for_targets(self, targets: Sequence[str]) -> Self:
        """Return what a training of these targets does by default.

        Heads that the model lacks begin with one that it has, fitted to the training labels, or with random
        weights fitted in the same way: both learn from few labels what a new head needs many for.
        """
        if self.reset_heads or self.adaptation.plain() or set(targets) <= set(self.targets):
            return self
        return replace(self, adaptation=replace(self.adaptation, carry_heads=True))

    def starts(self) -> list[Start]:
        """Read one start for each member of the model; InputError if it changed since."""
        models, beside = _models(self.folder)
        if (weights_key(models), descriptors_key(beside)) != (self.key, self.descriptors):
            raise InputError(f"{self.folder}: another model was written there meanwhile; repeat the command")
        return [Start(model, self.freeze, self.reset_heads, self.adaptation, beside) for model in models]

    def plain(self) -> dict[str, Any]:
        """Return what distinguishes runs."""
        choice = {"model": self.key, "freeze": self.freeze, "reset_heads": self.reset_heads}
        beside = {"descriptors": self.descriptors} if self.descriptors else {}
        return choice | beside | self.adaptation.plain()

    def label(self) -> str:
        """Name for people."""
        parts = ["fine-tuned"]
        if self.freeze != "none":
            parts.append(f"{self.freeze} frozen")
        if self.reset_heads:
            parts.append("new heads")
        return ", ".join(parts)


def _models(folder: Path) -> tuple[list[TrainedModel], Mapping[str, DescriptorModels]]:
    """Read the members, and by kind the trees and the process beside them."""
    if folder.is_file():
        return [load_model(folder)], {}
    ensemble = load_ensemble(folder)
    return list(ensemble.members), ensemble.descriptor_models


@dataclass(frozen=True)
class RunSettings:
    """Settings that decide the numbers of a run, besides the data."""

    preset: str  # a key of `model.training.presets.PRESETS`
    split: str = "random"  # see `model.data.splits.split_dataset`
    seed: int = 0  # of split and training
    # epochs, targets: instead of the preset's
    epochs: int | None = None
    # members, bagging: see `model.training.ensemble.train_ensemble`
    members: int = 1
    bagging: bool = False
    train_fraction: float = 1.0  # share of the training set that is used, for learning curves
    # folds, fold: cross-validation by `split` with so many folds, and the number of this one from 0; 0 folds:
    # none
    folds: int = 0
    fold: int = 0
    # settings instead of the preset's, see `model.training.presets.with_params`
    params: dict[str, Any] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    transfer: Transfer | None = None  # the pre-trained model that the members begin with; None: from scratch
    temperature: float = 1.0  # of sampling targets with few labels, see `model.training.ensemble.resampled`
    # what to do about identical slabs that a split file has in two sets, see `model.data.splits`
    twins: str = ""

    def label(self) -> str:
        """Name for people."""
        parts = [self.preset, self.split, f"seed {self.seed}"]
        if self.folds:
            parts.append(f"fold {self.fold + 1} of {self.folds}")
        if self.train_fraction < 1:
            parts.append(f"{self.train_fraction:g} of the training set")
        if self.params:
            parts.append("tuned")
        if self.transfer is not None:
            parts.append(self.transfer.label())
        if self.twins:
            parts.append(f"twins: {self.twins}")
        return ", ".join(parts)

    def plain(self) -> dict[str, Any]:
        """Return what distinguishes runs; fields that older runs lack only where they are used."""
        values = asdict(self)
        del values["targets"], values["transfer"], values["twins"], values["temperature"]
        if self.temperature != 1:
            values["temperature"] = self.temperature
        if self.twins:
            values["twins"] = self.twins
        if self.targets:
            values["targets"] = list(self.targets)
        if self.transfer is not None:
            values["transfer"] = self.transfer.plain()
        return values


def run_training(
    datasets: Datasets,
    settings: RunSettings,
    folder: Path,
    *,
    progress: Callable[[int, Progress], None] | None = None,
    divide: Callable[[Dataset], Split] | None = None,
    keep_model: bool = True,
    angle_batches: int = 0,
    processes: int = 1,
) -> dict[str, Any]:
    """Train, judge and keep; resume if the folder holds the same run unfinished, read it if it is finished.

    Parameters
    ----------
    datasets
        Returns the labelled slabs.
    folder
        Made if it does not exist.
    progress
        Called with the number of the member after each of its epochs.
    divide
        Divides the labelled slabs instead of `make_split`; the run is then known by the sets themselves, and
        the settings only name them.
    keep_model
        False leaves ``model/`` out, of a run of which only the errors are wanted.
    angle_batches
        See `model.training.train.train`.
    processes
        How many train a network together, see `model.training.processes`; no part of the identity of a run.

    Returns
    -------
    dict
        Content of ``run.json``.

    Raises
    ------
    InputError
        If the preset is unknown, there are too few labelled slabs, or the folder holds another run.
    """
    check_processes(processes, chosen_preset(settings))
    preset, dataset = labelled_data(datasets, chosen_preset(settings))
    if (transfer := settings.transfer) is not None:
        settings = replace(settings, transfer=transfer.for_targets(preset.network.targets))
        if transfer.offered and divide is None:
            settings = _without_leak(settings, transfer, dataset)
    identity = {"settings": settings.plain(), "data": data_key(dataset)}
    split = divide(dataset) if divide is not None else None
    if split is not None:
        identity["sets"] = content_hash([[dataset[i].record_id for i in split.part(name)] for name in PARTS])
    if (finished := _finished(folder, identity, dataset)) is not None:
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, _LOCK_WAIT, "choose another folder with --output"):
        if (finished := _finished(folder, identity, dataset)) is not None:
            return finished  # another process ended it between the look and the lock
        return _run(
            preset, dataset, split, settings, folder, identity, progress, keep_model, angle_batches, processes
        )


def in_work(folder: Path) -> bool:
    """Return whether another process trains in a folder."""
    return in_use(folder / LOCK)


def _finished(folder: Path, identity: Mapping[str, Any], dataset: Dataset) -> dict[str, Any] | None:
    """Read the finished run of a folder, None if there is none; InputError if it is another run."""
    finished = read_run(folder)
    if finished is None:
        return None
    if {key: finished.get(key) for key in identity} != identity:
        version = ""
        if made := written_by(finished.get("code")):
            version = f"; {made}: presets may differ"
        raise InputError(
            f"{folder}: holds a finished run of other settings or data ({finished['label']}{version}); "
            "choose another folder with --output, or delete this one (mgsurf train --overwrite trains "
            "again there)"
        )
    if dataset.snapshot not in (None, finished.get("snapshot")):  # of the very same data
        finished["snapshot"] = dataset.snapshot
        write_json(folder / "run.json", finished)
    return finished


def _without_leak(settings: RunSettings, transfer: Transfer, dataset: Dataset) -> RunSettings:
    """Leave out a pre-trained model that has seen validation or test set, or of which that is not known."""
    split = make_split(dataset, settings)
    seen = seen_before([start.model.training for start in transfer.starts()], dataset, split)
    if seen is not None and not any(seen.values()):
        return settings
    LOG.warning(
        "%s; it is not used, the training begins from scratch (--from takes it all the same)",
        _seen_line(seen, dataset, split),
    )
    return replace(settings, transfer=None)


def _seen_line(seen: dict[str, int] | None, dataset: Dataset, split: Split) -> str:
    if seen is None:
        return "it is not known what the pre-trained model has seen of the validation and test set"
    return (
        f"the pre-trained model has seen {seen['test']} of {len(split.test)} test and {seen['val']} of "
        f"{len(split.val)} validation {dataset.noun}s, or others of their compounds"
    )


def chosen_preset(settings: RunSettings) -> Preset:
    """Return the preset of a run with its targets, epochs and seed."""
    preset = with_params(find_preset(settings.preset), settings.params)
    if settings.targets:
        preset = replace(preset, network=replace(preset.network, targets=settings.targets))
    training = replace(preset.training, seed=settings.seed)
    if settings.epochs is not None:
        training = replace(training, epochs=settings.epochs)
    return replace(preset, training=training)


def make_split(dataset: Dataset, settings: RunSettings) -> Split:
    """Divide a data set for a run."""
    if settings.folds:
        if settings.twins:
            raise InputError("--twins goes with --split FILE, not with folds; leave it out")
        split = k_fold(dataset, settings.split, settings.folds, settings.seed)[settings.fold]
    else:
        split = split_dataset(dataset, settings.split, settings.seed, settings.twins)
    return part_of_training(dataset, split, settings.train_fraction)


def read_run(folder: Path) -> dict[str, Any] | None:
    """Return what a finished run wrote, None if there is none; InputError if the file is damaged.

    The log loss of classes, which older runs lack, is computed from their predictions.
    """
    path = folder / "run.json"
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    if content.get("format") != FORMAT:
        raise InputError(f"{path}: format {content.get('format')!r} is not {FORMAT!r}; train again")
    lacking = any("log_loss" not in found["test"] for found in content.get("classes", {}).values())
    if lacking and (folder / "predictions.csv").is_file():
        rows = read_rows(folder)
        with refusing(f"{folder / 'predictions.csv'}: does not go with run.json; {REMEDY}"):
            add_log_loss(content["classes"], rows)
    return content


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of ``predictions.csv``, numbers as numbers and empty cells as None.

    Raises InputError if the file is missing or damaged.
    """
    path = folder / "predictions.csv"
    words = {"record_id", "formula", "chemsys", "part"}
    try:
        return [
            {k: v if k in words else (float(v) if v else None) for k, v in row.items()}
            for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        ]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: is damaged ({error}); {REMEDY}") from error


def data_key(dataset: Dataset) -> str:
    """Hash labelled slabs: records, geometry and labels, in any order."""
    return content_hash(sorted([e.record_id, e.graph.identity, sorted(e.targets.items())] for e in dataset))[
        :32
    ]


def _run(
    preset: Preset,
    dataset: Dataset,
    split: Split | None,
    settings: RunSettings,
    folder: Path,
    identity: dict[str, Any],
    progress: Callable[[int, Progress], None] | None,
    keep_model: bool,
    angle_batches: int,
    processes: int,
) -> dict[str, Any]:
    began = time.monotonic()
    split = split or make_split(dataset, settings)
    enough_labels(dataset, split, preset.network.targets)
    starts = settings.transfer.starts() if settings.transfer is not None else []
    for start in starts[:1]:
        if unseen := new_elements(start, (e for i in split.train for e in dataset[i].elements)):
            LOG.warning("the pre-trained model has never seen %s", ", ".join(unseen))
    before = seen_before([start.model.training for start in starts], dataset, split) if starts else {}
    if before is None or any(before.values()):
        LOG.warning(
            "%s: their errors and intervals may be too small; divide by the split of that model, or leave "
            "--from out",
            _seen_line(before, dataset, split),
        )
    ensemble = train_ensemble(
        dataset,
        split,
        preset,
        members=settings.members,
        bagging=settings.bagging,
        temperature=settings.temperature,
        folder=folder / "training",
        progress=progress,
        starts=starts,
        angle_batches=angle_batches,
        processes=processes,
    )
    chosen = ensemble
    if not starts:
        ensemble = with_validation_labels(chosen, dataset, split, preset.training.seed)
    predicted = predict_unseen(chosen, ensemble, dataset, split)
    metrics = evaluate(dataset, split, predicted)
    first = ensemble.members[0]
    learned = [member.training for member in ensemble.members]
    if ensemble.descriptor_models:
        # its trees see all of the training set, bagged members may not
        seen = this_training((dataset[i] for i in (*split.train, *split.val)), split.name, dataset.snapshot)
        learned.append({NOTE: [seen.model_dump(mode="json")]})
    importance = (
        permutation_importance(ensemble, dataset, split.test)
        if keep_model and noun_of(ensemble.kinds) == "composition"
        else {}
    )
    spread = dict(zip(first.targets, first.scaler.std, strict=True))
    result = {
        "format": FORMAT,
        "label": settings.label(),
        **identity,
        "snapshot": dataset.snapshot,
        **({"excluded": dict(dataset.excluded)} if dataset.excluded else {}),
        "code": code_version(),
        "versions": library_versions(),
        "targets": list(first.targets),
        **({"noun": noun} if (noun := noun_of(ensemble.kinds)) != "slab" else {}),
        "sizes": {name: len(split.part(name)) for name in PARTS},
        "split_name": split.name,
        **({"twins": split.twins.plain()} if split.twins is not None else {}),
        "elements": list(ensemble.elements),
        **({"seen_before": before} if starts else {}),
        "trainings": [one.model_dump(mode="json") for one in trainings_of(learned)],
        "metrics": metrics,
        "total_loss": total_loss(metrics, spread),
        **({"classes": evaluate_classes(dataset, split, predicted)} if predicted.probabilities else {}),
        **({"importance": importance} if importance else {}),
        "history": [list(member.history) for member in ensemble.members],
        "seconds": round(sum(line["seconds"] for member in ensemble.members for line in member.history), 1),
        "seconds_in_all": round(time.monotonic() - began, 1),
    }
    if keep_model:
        save_ensemble(ensemble, folder / "model")
    write_split(dataset, split, folder / "split.csv")
    write_text(folder / "predictions.csv", _as_csv(prediction_rows(dataset, split, predicted)))
    write_json(folder / "run.json", result)
    for state in (folder / "training").glob("member-*/state.pt"):
        state.unlink()  # what it held is in model/ and run.json
    return dict(json.loads(json.dumps(result)))


def labelled_data(datasets: Datasets, preset: Preset) -> tuple[Preset, Dataset]:
    """Read the slabs with a label of a preset's targets; return the preset with the heads of these targets.

    A target has several heads, target@method, where its labels come from several methods; a preset without
    targets has those of the data. Raises InputError if there are too few slabs, or they are of a kind that
    the network does not see.
    """
    dataset = datasets(preset.graph, preset.network.targets)
    targets = preset.network.targets or dataset.targets
    check_kind(preset.network, [entry.graph for entry in dataset], "the labels")
    heads = tuple(
        head
        for name in targets
        for head in [n for n in dataset.targets if n == name or n.startswith(f"{name}@")] or [name]
    )
    for name in heads:
        if all(entry.targets.get(name) is None for entry in dataset):
            known = ", ".join(dataset.targets) or "none"
            raise InputError(
                f"no slab of {len(dataset)} has a label of {name} (labels there are: {known}); "
                "mgsurf import adds labelled slabs, mgsurf run computes them"
            )
    kept = [i for i, e in enumerate(dataset) if any(e.targets.get(name) is not None for name in heads)]
    if len(kept) < FEWEST_SLABS:
        raise InputError(
            f"{len(kept)} labelled slabs are too few to train, validate and test on (at least "
            f"{FEWEST_SLABS}); mgsurf import adds more, mgsurf run computes them"
        )
    classes = tuple(dataset.classes.get(name, ()) for name in heads) if dataset.classes else ()
    network = replace(preset.network, targets=heads, classes=classes)
    if isinstance(network, CompositionConfig):
        network = replace(network, extras=dataset.extras)
    return replace(preset, network=network), dataset.subset(kept)


def enough_labels(dataset: Dataset, split: Split, targets: tuple[str, ...]) -> None:
    """Refuse a split of which a set has no label of a target."""
    for name in targets:
        for part in PARTS:
            if all(dataset[i].targets.get(name) is None for i in split.part(part)):
                raise InputError(
                    f"split {split.name}: no slab of the {part} set has a label of {name}; "
                    "choose another --seed or --split"
                )


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
