"""Several networks of one kind as one predictor, with calibrated standard deviations.

One member is an ensemble too; its uncertainty rests on the distance from the training slabs and on the trees.
Its folder is written and read by `model.training.ensemble_files`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from model.baselines.class_trees import ClassModels
from model.baselines.extra_trees import check_can_fit
from model.baselines.kinds import fit_by_kind, fitting_ahead, predict_by_kind
from model.data.provenance import learned_labels
from model.evaluation.calibration import calibrate, fold_numbers
from model.evaluation.class_calibration import fit_temperature, with_temperature
from model.evaluation.familiarity import TrainingMap
from model.evaluation.metrics import Predictions, labels
from model.network.convolution import repeatable
from model.training.inputs import is_composition, pack, shared_inputs
from model.training.processes import train_in_processes
from model.training.source import Source
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.baselines.blend import DescriptorModels
    from model.data.dataset import Dataset
    from model.data.model_input import ModelInput
    from model.data.splits import Split
    from model.evaluation.calibration import Calibration
    from model.graphs.graph import GraphSettings
    from model.network.heads import HeadsConfig
    from model.training.checkpoint import TrainedModel
    from model.training.inputs import Packed
    from model.training.presets import Preset
    from model.training.train import Progress
    from model.training.transfer import Start

COMPOSITIONS_AT_ONCE = 2048  # that a thread predicts
SEED_STEP = 1000
"""Member k of a run with seed s is trained with seed s + 1000 k: runs of neighbouring seeds share none."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Networks as one predictor, with calibration and the map of the training slabs."""

    members: tuple[TrainedModel, ...]  # at least one; all predict the same targets from the same graphs
    calibration: dict[str, Calibration]  # by target
    training_map: TrainingMap  # in the embedding of the first member
    elements: tuple[str, ...]  # symbols that occur in the training set
    # trees and Gaussian process beside the members, if any, by kind of structure
    descriptor_models: Mapping[str, DescriptorModels] = field(default_factory=dict)
    class_models: ClassModels | None = None  # trees for classes beside the members, if any
    # of each target of classes, see `model.evaluation.class_calibration`; none in files of older versions
    temperatures: Mapping[str, float] = field(default_factory=dict)
    # the model that the members were fine-tuned from, if trees and process look at its predictions
    source: Source | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        return self.members[0].targets

    @property
    def graph_settings(self) -> GraphSettings:
        """Settings that graphs must be built with."""
        return self.members[0].graph_settings

    @property
    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Names of the classes of those targets that are no quantities."""
        return self.members[0].class_names

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the targets that are quantities."""
        return tuple(name for name in self.targets if name not in self.class_names)

    @property
    def kinds(self) -> dict[str, tuple[str, ...]]:
        """What the training labels of each target are of: slab, bulk, or both."""
        return self.members[0].kinds

    @property
    def trained_kinds(self) -> frozenset[str]:
        """Kinds of all training labels."""
        return frozenset().union(*self.kinds.values())

    @property
    def units(self) -> dict[str, str]:
        """Units of targets other than surface energy and work function, where known."""
        return self.members[0].units

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the numeric columns beside a composition that it learned from, in their order."""
        return self.members[0].extras

    @property
    def knows_shared_errors(self) -> bool:
        """Whether it states how alike its errors within a compound are."""
        kinds = self.descriptor_models.values()
        return any(one.unseen for models in kinds for one in models.targets.values())

    def predict(self, graphs: Sequence[ModelInput]) -> Predictions:
        """Predict every target with its standard deviation, of graphs built with `graph_settings`."""
        return self.predict_placed(graphs)[0]

    def embed(self, graphs: Sequence[ModelInput]) -> torch.Tensor:
        """Output of the first member's last shared layer: [n, H]."""
        return _outputs(self.members[:1], graphs).embedding

    def outputs(self, packed: Packed) -> MemberOutputs:
        """Return what the networks predict for packed inputs, without trees, process and calibration."""
        return _outputs_of(self.members, packed)

    def predict_placed(self, graphs: Sequence[ModelInput]) -> tuple[Predictions, NDArray[np.float64]]:
        """Predict as `predict` does; also return where the slabs lie, see `TrainingMap.place`."""
        threads = torch.get_num_threads()
        if threads == 1 or len(graphs) <= COMPOSITIONS_AT_ONCE or not is_composition(self._config):
            return self._predict_lot(graphs)
        lots = [graphs[i : i + COMPOSITIONS_AT_ONCE] for i in range(0, len(graphs), COMPOSITIONS_AT_ONCE)]
        # features and trees know of one thread only: each thread takes whole lots from features to classes
        with repeatable(), ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(self._predict_lot, lots))
        return Predictions.joined([lot for lot, _ in found]), np.concatenate([place for _, place in found])

    @property
    def _config(self) -> HeadsConfig:
        return self.members[0].network.config

    def _predict_lot(self, graphs: Sequence[ModelInput]) -> tuple[Predictions, NDArray[np.float64]]:
        """Predict in this thread."""
        graphs = shared_inputs(self._config, graphs)
        found = _outputs(self.members, graphs)
        distance = self.training_map.distance(found.embedding)
        sources = None if self.source is None else self.source.columns(graphs)
        blended = predict_by_kind(self.descriptor_models, found.mean(), graphs, sources)
        sigma = {
            name: self.calibration[name].sigma(_spread(values), distance, blended.deviation.get(name))
            for name, values in found.each.items()
        }
        for name, values in blended.sigma.items():
            sigma[name] = np.where(np.isnan(values), sigma[name], values)
        shared = {name: sigma[name] * np.sqrt(values) for name, values in blended.correlation.items()}
        classes = found.probabilities
        if self.class_models is not None:
            classes = self.class_models.predict(classes, graphs)
        classes = {n: with_temperature(p, self.temperatures.get(n, 1.0)) for n, p in classes.items()}
        predictions = Predictions(blended.mean, sigma, distance, classes, shared, blended.trained)
        return predictions, self.training_map.place(found.embedding)


@repeatable()
def train_ensemble(
    dataset: Dataset,
    split: Split,
    preset: Preset,
    *,
    members: int = 1,
    bagging: bool = False,
    temperature: float = 1.0,
    folder: Path | None = None,
    progress: Callable[[int, Progress], None] | None = None,
    starts: Sequence[Start] = (),
    angle_batches: int = 0,
    processes: int = 1,
) -> Ensemble:
    """Train members that differ by their seed and calibrate them on the validation set.

    Where there are several threads, one fits trees and process while the networks train.

    Parameters
    ----------
    dataset, split
        See `model.training.train.train`.
    preset
        Of the members, and of trees and Gaussian process beside them, fitted on the whole training set.
    members
        How many.
    bagging
        Train each on slabs drawn with replacement, groups of identical slabs as one.
    temperature
        Above 1, slabs of targets with few labels are trained on more often, see `resampled`.
    folder
        Keeps the state of each member, so that the same call resumes if interrupted.
    progress
        Called with the number of the member after each of its epochs.
    starts
        Pre-trained models that the members begin with, in turn; none: from scratch.
    angle_batches
        See `model.training.train.train`.
    processes
        How many train each member together, see `model.training.processes`.
    """
    if preset.trees:
        check_can_fit()
    # of all members: trees and process, and the rows that they keep, see the whole training set
    learned = learned_labels(dataset, split, preset.network.targets, [one.model.training for one in starts])
    trained = []
    with fitting_ahead(
        dataset.subset(split.train),
        [name for name in preset.network.targets if name not in preset.network.class_names()],
        0 if starts else preset.trees,  # a fine-tuned model may see other rows and columns
        preset.training.seed,
    ):
        for k in range(members):
            seed = preset.training.seed + SEED_STEP * k

            def tell(line: Progress, k: int = k) -> None:
                if progress is not None:
                    progress(k, line)

            drawn = bagged(dataset, split, seed) if bagging else split
            if temperature != 1:
                drawn = resampled(dataset, drawn, preset.network.targets, temperature, seed)
            member = train_in_processes(
                processes,
                dataset,
                drawn,
                replace(preset, training=replace(preset.training, seed=seed)),
                folder=None if folder is None else folder / f"member-{k}",
                progress=tell,
                start=starts[k % len(starts)] if starts else None,
                angle_batches=angle_batches,
            )
            trained.append(replace(member, training={**member.training, **learned}))
    start = starts[0] if starts else None
    return assemble(trained, dataset, split, preset.trees, preset.training.seed, start)


def bagged(dataset: Dataset, split: Split, seed: int) -> Split:
    """Return the split with training slabs drawn with replacement, groups of identical slabs as one."""
    groups: dict[int, list[int]] = {}
    for i in sorted(split.train, key=lambda i: dataset[i].record_id):
        groups.setdefault(dataset[i].group, []).append(i)
    found = list(groups.values())
    picks = np.random.default_rng(seed).integers(len(found), size=len(found))
    train_part = tuple(i for pick in picks for i in found[pick])
    return replace(split, name=f"{split.name}, bagged", train=train_part)


def resampled(dataset: Dataset, split: Split, targets: Sequence[str], temperature: float, seed: int) -> Split:
    """Return the split with training slabs of targets with few labels repeated: temperature sampling.

    A target with n labels is met in proportion to n^(1/T) (Arivazhagan et al., arXiv:1907.05019): each of its
    slabs (N/n)^(1 - 1/T) times an epoch, N being the labels of the commonest target, so that no slab is left
    out. A slab with several labels counts as its rarest target.

    Raises InputError if the temperature is below 1.
    """
    if temperature < 1:
        raise InputError(f"temperature {temperature:g}: must be 1 (as the data are) or above")
    counts = {t: sum(dataset[i].targets.get(t) is not None for i in split.train) for t in targets}
    largest = max(counts.values())
    repeats = {t: (largest / n) ** (1 - 1 / temperature) for t, n in counts.items() if n}
    rng, drawn = np.random.default_rng(seed), []
    for i in split.train:
        wanted = max((r for t, r in repeats.items() if dataset[i].targets.get(t) is not None), default=1.0)
        drawn += [i] * (int(wanted) + int(rng.random() < wanted % 1))
    return replace(split, name=f"{split.name}, temperature {temperature:g}", train=tuple(drawn))


@repeatable()
def assemble(
    members: Sequence[TrainedModel],
    dataset: Dataset,
    split: Split,
    trees: int = 0,
    seed: int = 0,
    start: Start | None = None,
) -> Ensemble:
    """Fit what stands beside trained members; calibrate all on the validation set of their split.

    The blend weights are fitted on the same slabs; the calibration is cross-fitted, see
    `model.evaluation.calibration`. Trees and seed: see `DescriptorModels.fit`; to that of `start`
    also go the rows that it carries, and its predictions.

    Raises
    ------
    InputError
        If the members predict different targets or need different graphs.
    """
    check_alike(members, "the members")
    train_part, val_part = dataset.subset(split.train), dataset.subset(split.val)
    graphs = [entry.graph for entry in val_part]
    validation = _outputs(members, graphs)
    training = _outputs(members[:1], [entry.graph for entry in train_part])
    training_map = TrainingMap.of(
        training.embedding, validation.embedding, [entry.group for entry in train_part]
    )
    distance = training_map.distance(validation.embedding)
    true = {name: labels(val_part, name) for name in validation.each}
    folds = _calibration_folds(val_part)
    descriptor_models: dict[str, DescriptorModels] = {}
    source: Source | None = None
    columns: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    held_out: dict[str, NDArray[np.float64]] = {}
    if trees and true:
        if start is not None:
            source = Source.of(start.model, start.descriptor_models)
            columns = (source.columns([entry.graph for entry in train_part]), source.columns(graphs))
        descriptor_models, held_out = fit_by_kind(
            train_part, val_part, validation.mean(), trees, seed, folds, start.rows if start else {}, columns
        )
    # slabs of unseen elements have a calibration of their own: here they count as all others
    plain = {kind: one.without_unseen() for kind, one in descriptor_models.items()}
    blended = predict_by_kind(plain, validation.mean(), graphs, None if columns is None else columns[1])
    calibration = {
        name: calibrate(
            blended.mean[name] - true[name],
            _spread(values),
            distance,
            blended.deviation.get(name),
            folds=folds,
            held_out=held_out[name] - true[name] if name in held_out else None,
        )
        for name, values in validation.each.items()
    }
    elements = tuple(sorted({element for entry in train_part for element in entry.elements}))
    needed = any(one.sources for one in descriptor_models.values())
    class_models, temperatures = _classes(train_part, val_part, validation.probabilities, trees, seed, folds)
    return Ensemble(
        tuple(members),
        calibration,
        training_map,
        elements,
        descriptor_models,
        class_models,
        temperatures,
        source if needed else None,
    )


def _classes(
    train_part: Dataset,
    val_part: Dataset,
    networks: dict[str, NDArray[np.float64]],
    trees: int,
    seed: int,
    folds: NDArray[np.intp],
) -> tuple[ClassModels | None, dict[str, float]]:
    """Fit trees beside the networks' probabilities of classes, and the temperature of their blend."""
    models, blended = None, networks
    if trees:
        models, held_out = ClassModels.fit(train_part, val_part, networks, trees, seed, folds)
        blended = {**networks, **held_out}
    return models, {name: fit_temperature(p, labels(val_part, name)) for name, p in blended.items()}


def _calibration_folds(val_part: Dataset) -> NDArray[np.intp]:
    """Identical slabs share a fold."""
    first: dict[int, str] = {}
    for entry in sorted(val_part, key=lambda entry: entry.record_id):
        first.setdefault(entry.group, entry.record_id)
    return fold_numbers([first[entry.group] for entry in val_part])


@dataclass(frozen=True, eq=False)
class MemberOutputs:
    """Predictions of members for n slabs."""

    each: dict[str, NDArray[np.float64]]  # [members, n] by target
    embedding: torch.Tensor  # [n, H], of the first member
    probabilities: dict[str, NDArray[np.float64]]  # [n, K] by target, mean over the members

    def mean(self) -> dict[str, NDArray[np.float64]]:
        """Mean over the members: [n] by target."""
        return {name: values.mean(axis=0) for name, values in self.each.items()}


def _outputs(members: Sequence[TrainedModel], graphs: Sequence[ModelInput]) -> MemberOutputs:
    classes = members[0].class_names
    if not graphs:
        names = [name for name in members[0].targets if name not in classes]
        each = {name: np.zeros((len(members), 0)) for name in names}
        nothing = {name: np.zeros((0, len(found))) for name, found in classes.items()}
        return MemberOutputs(each, torch.zeros(0, members[0].network.config.hidden), nothing)
    device = next(members[0].network.parameters()).device
    return _outputs_of(members, pack(members[0].network.config, graphs, device))


def _outputs_of(members: Sequence[TrainedModel], packed: Packed) -> MemberOutputs:
    embeddings: list[torch.Tensor] = []
    standardised: list[list[torch.Tensor]] = [[] for _ in members]
    with torch.inference_mode():
        for batch in packed.in_order():
            for k, member in enumerate(members):
                hidden = member.network.eval().trunk(batch)  # type: ignore[arg-type]  # of its kind
                standardised[k].append(member.network.from_trunk(hidden).cpu())
                if k == 0:
                    embeddings.append(hidden.float().cpu())
        outputs = [torch.cat(parts) for parts in standardised]
        values = [member.quantities(output) for member, output in zip(members, outputs, strict=True)]
        shares = [member.probabilities(output) for member, output in zip(members, outputs, strict=True)]
    by_target = {name: np.stack([found[name] for found in values]) for name in values[0]}
    probabilities = {name: np.mean([found[name] for found in shares], axis=0) for name in shares[0]}
    return MemberOutputs(by_target, torch.cat(embeddings), probabilities)


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation over members [n]; zero for one."""
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])


def check_alike(members: Sequence[TrainedModel], where: str) -> None:
    """Raise InputError, naming `where`, if there are no members, or their targets or graphs differ."""
    if not members:
        raise InputError(f"{where}: no member; train the model again")
    if any(
        (m.targets, m.class_names) != (members[0].targets, members[0].class_names) for m in members
    ) or any(m.graph_settings != members[0].graph_settings for m in members):
        raise InputError(f"{where}: members predict different targets or need different graphs; train again")
