"""Training of one network: ordinary code, read from top to bottom; state on disk.

Everything random follows from the seed and the number of the epoch, and sums are made in a fixed order
(`model.network.convolution.repeatable`), so that a training that was killed and resumed gives the same bits
as one that ran through, on one machine with any number of threads. Where `model.training.processes` started
several processes, each goes through this code with its part of every batch, and all have the same weights.
The folder of a training holds ``state.pt`` (all that is needed to resume, replaced in one step after each
epoch), ``history.jsonl`` (a line per epoch) and, where tensorboard is installed, ``events.*``.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from model.data.provenance import NOTE, this_training, trainings_of
from model.graphs.element_features import FEATURES
from model.graphs.graph import SlabGraph
from model.network import process_group
from model.network.convolution import repeatable
from model.training.checked_json import write_text
from model.training.checkpoint import (
    Scaler,
    TrainedModel,
    code_version,
    predict_packed,
    target_matrix,
    training_kinds,
    written_by,
)
from model.training.fitted_heads import fit_heads
from model.training.inputs import learn_inputs, make_network, pack
from model.training.losses import cosine_between, make_balancer, pair_cosines, shared_gradients
from model.training.optimisers import Averaging, make_optimiser, make_schedule
from model.training.target_losses import label_importance, masked_losses
from model.training.tensor_files import read_tensors, write_tensors
from model.training.transfer import (
    Adaptation,
    check_start,
    load_pretrained_weights,
    steps_below_heads,
    train_mode,
)
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from model.data.dataset import Dataset
    from model.data.splits import Split
    from model.training.inputs import Network, Packed
    from model.training.presets import Preset
    from model.training.target_losses import Columns
    from model.training.transfer import Start


@dataclass(frozen=True)
class Epoch:
    """One line of the history."""

    epoch: int  # from 1
    learning_rate: float  # at its end
    loss: dict[str, float]  # mean training loss of each target (standardised)
    # validation error of each target, in its unit; None where validation has no label
    val_mae: dict[str, float | None]
    # what is minimised over epochs: mean over targets of the validation error, of quantities in standard
    # deviations
    score: float
    weights: dict[str, float]  # of the balancer, by target
    # of the angle between the targets' gradients at the last shared layer, at the first step
    cosine: float | None
    seconds: float  # of this epoch
    # mean cosine of each pair of targets at the last shared layer, by `pair_name`; None: not recorded
    cosines: dict[str, float] | None = None

    def plain(self) -> dict[str, Any]:
        """Return all fields for JSON; cosines, which older histories have not, only where recorded."""
        values = asdict(self)
        if self.cosines is None:
            del values["cosines"]
        return values


def pair_name(first: str, second: str) -> str:
    """Name a pair of targets in `Epoch.cosines`."""
    return f"{first} / {second}"


class RunFolder:
    """State and history of a training in a folder (None: nothing is kept).

    Of several processes that train together all read it and the first writes it. A state with other
    `settings` (of network, training and data) is not resumed.
    """

    def __init__(self, folder: Path | None, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.settings = json.dumps(settings, sort_keys=True)
        self._events: Any = None

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return the state of an unfinished training, or None.

        Raises InputError if the folder holds a training with other settings or data, or its state cannot be
        read.
        """
        if self.folder is None or not (path := self.folder / "state.pt").exists():
            return None
        state = read_tensors(path, device)
        if state.get("settings") != self.settings:
            version = f" ({made})" if (made := written_by(state.get("code"))) else ""
            raise InputError(
                f"{self.folder} holds a training with other settings or data{version}: name another folder, "
                "or delete this one to start again"
            )
        return state

    def save(self, state: dict[str, Any], line: Epoch) -> None:
        """Keep the state after an epoch and add its line to the history."""
        if self.folder is None or process_group.rank() > 0:
            return
        write_tensors(self.folder / "state.pt", {**state, "settings": self.settings, "code": code_version()})
        lines = [json.dumps(entry) + "\n" for entry in state["history"]]
        # written from the state, so that a kill between the two files repeats no line
        write_text(self.folder / "history.jsonl", "".join(lines))
        self._write_events(line.plain())

    def close(self) -> None:
        """Close the events file."""
        if self._events is not None:
            self._events.close()

    def _write_events(self, line: dict[str, Any]) -> None:
        if self._events is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self._events = SummaryWriter(str(self.folder), purge_step=line["epoch"])
        for name, value in line.items():
            scalars = value if isinstance(value, dict) else {"": value}
            for target, number in scalars.items():
                if number is not None and name != "epoch":
                    self._events.add_scalar(f"{name}/{target}".rstrip("/"), number, line["epoch"])
        self._events.flush()


def training_key(part: Dataset, names: Sequence[str]) -> str:
    """Hash of a training set: graphs and labels, in order."""
    digest = hashlib.sha256()
    for entry in part:
        labels = [entry.targets.get(name) for name in names]
        digest.update(f"{entry.record_id} {entry.graph.identity} {labels!r}\n".encode())
        if isinstance(entry.graph, SlabGraph):
            digest.update(entry.graph.distances.tobytes())
    return digest.hexdigest()[:32]


def labelled(dataset: Dataset, numbers: tuple[int, ...], names: tuple[str, ...], part: str) -> Dataset:
    """Return the slabs of a set that have at least one of the targets."""
    kept = [i for i in numbers if any(dataset[i].targets.get(name) is not None for name in names)]
    if not kept:
        raise InputError(f"the {part} set has no slab with a label of {', '.join(names)}: add data")
    return dataset.subset(kept)


@dataclass(frozen=True)
class Progress:
    """Arguments of a progress callback, called after each epoch: the epoch and the number of epochs."""

    epoch: Epoch
    epochs: int


@repeatable()
def train(
    dataset: Dataset,
    split: Split,
    preset: Preset,
    *,
    folder: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    start: Start | None = None,
    angle_batches: int = 0,
) -> TrainedModel:
    """Train a network on the training set and keep the weights that were best on validation.

    Parameters
    ----------
    dataset, split
        Labelled slabs and who is in which set; slabs without any of the targets are left out.
    preset
        Network, training, and the settings that the graphs of the data set were built with; kept with the
        model, for predictions.
    folder
        Keeps the state after each epoch and the history; an unfinished training of the same data and
        settings found there is resumed.
    progress
        Called after each epoch.
    start
        A trained model to begin with; None: random weights.
    angle_batches
        In so many batches of an epoch, the first that have labels of several targets, the angles between
        the gradients of each pair of them are recorded; the training itself stays as it is.

    Raises
    ------
    InputError
        If a set has no labels, `folder` holds another training, or `start` does not fit.
    """
    config, names = preset.training, preset.network.targets
    elements = torch.from_numpy(FEATURES[preset.features]().table)
    if start is not None:
        check_start(start, preset.network, elements, preset.graph)
    device = process_group.device()
    train_part = labelled(dataset, split.train, names, "training")
    val_part = labelled(dataset, split.val, names, "validation")
    train_values, val_values = target_matrix(train_part, names), target_matrix(val_part, names)
    classes = preset.network.class_names()
    scaler = Scaler.fit(train_values, names, classes)
    targets = scaler.scale(train_values).to(device)  # [n, T]
    importance = label_importance(train_values, config, [name in classes for name in names]).to(
        device
    )  # [n, T], 0: no label
    torch.manual_seed(config.seed)
    network = make_network(preset.network, elements)
    train_graphs = pack(preset.network, [entry.graph for entry in train_part], device)
    val_share = [val_part[i].graph for i in range(len(val_part))[process_group.share_of(len(val_part))]]
    val_graphs = pack(preset.network, val_share, device)
    network.to(device)
    learn_inputs(network, train_graphs)
    if start is not None:
        load_pretrained_weights(network, scaler, start)
    if start is not None and start.adaptation.carry_heads:
        fit_heads(network, start, train_graphs, targets)
    if config.bfloat16 and device.type == "cuda":
        network.edge_dtype = torch.bfloat16
    balancer = make_balancer(len(names), config.balance).to(device)
    adaptation = Adaptation() if start is None else start.adaptation
    learned = [value for value in network.parameters() if value.requires_grad]
    optimiser = make_optimiser(
        [*learned, *balancer.parameters()],
        config.optimiser,
        steps_below_heads(network) if adaptation.by_layer else None,
    )
    steps_per_epoch = math.ceil(len(train_graphs) / config.batch_size)
    schedule = make_schedule(config.optimiser, config.epochs, steps_per_epoch)
    averaging = Averaging(network, config.averaging) if config.averaging else None
    forward = process_group.with_shared_gradients(network)
    columns = [(place, names[t] in classes) for t, place in enumerate(preset.network.columns().values())]

    history: list[Epoch] = []
    best: dict[str, torch.Tensor] = {}
    best_score, since_best = math.inf, 0
    seen = [this_training([*train_part, *val_part], split.name, dataset.snapshot)]
    if start is not None:
        seen += trainings_of([start.model.training])
    data_hash = training_key(train_part, names)
    origin = {} if start is None else {"start": start.about()}
    run = RunFolder(
        folder, {"network": preset.network.plain(), "training": config.plain(), "data": data_hash, **origin}
    )
    if (saved := run.load(device)) is not None:
        network.load_state_dict(saved["network"])
        balancer.load_state_dict(saved["balancer"])
        optimiser.load_state_dict(saved["optimiser"])
        if averaging:
            averaging.average, averaging.steps = saved["average"], saved["average_steps"]
        history = [Epoch(**line) for line in saved["history"]]
        best, best_score, since_best = saved["best"], saved["best_score"], saved["since_best"]

    while len(history) < config.epochs and not (config.patience and since_best >= config.patience):
        number, began = len(history), time.monotonic()
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
        order = torch.randperm(len(train_graphs), generator=generator).to(device)
        torch.manual_seed(config.seed * 1_000_003 + number)  # dropout, PCGrad's order
        train_mode(network)
        sums = torch.zeros(2, len(names), device=device)  # of losses, of labels
        cosine = None
        angles: list[dict[tuple[int, int], torch.Tensor]] = []
        for i, batch in enumerate(torch.split(order, config.batch_size)):
            slabs = process_group.take_share(batch)
            rate = schedule.rate(number * steps_per_epoch + i)
            for group in optimiser.param_groups:
                group["lr"] = rate * adaptation.rate_share(group.get("steps_down", 0), number)
            output = forward(train_graphs.select(slabs))  # [B, W]
            losses, counts = masked_losses(output, targets[slabs], importance[slabs], config, columns)
            optimiser.zero_grad(set_to_none=True)
            if i == 0:
                cosine = cosine_between(shared_gradients(losses, network))
            if len(angles) < angle_batches and len(losses) > 1:
                angles.append(pair_cosines(shared_gradients(losses, network)))
            balancer.backward(losses, network)
            if config.clip:
                torch.nn.utils.clip_grad_norm_(learned, config.clip)
            optimiser.step()
            if averaging:
                averaging.update()
            with torch.no_grad():
                for t, loss in losses.items():
                    sums[0, t] += loss * counts[t]
                    sums[1, t] += counts[t]

        kept = averaging.average if averaging else network.state_dict()
        predicted = _predict_with(network, kept, val_graphs, swap=averaging is not None)
        predicted = process_group.gathered(predicted, len(val_part)).cpu()
        error = validation_errors(predicted, val_values, scaler, columns)  # [n_val, T]
        mae = error.nanmean(0)
        score = float((mae / torch.tensor(scaler.std, dtype=torch.float64)).nanmean())
        if not math.isfinite(score):
            raise InputError(
                f"training diverged in epoch {number + 1} (validation error is not finite): "
                "lower the learning rate"
            )
        since_best += 1
        if score < best_score:
            best_score, since_best = score, 0
            best = {name: value.detach().clone() for name, value in kept.items()}
        mean_loss = (sums[0] / sums[1].clamp(min=1)).tolist()
        history.append(
            Epoch(
                epoch=number + 1,
                learning_rate=rate,
                loss=dict(zip(names, mean_loss, strict=True)),
                val_mae={n: None if m != m else m for n, m in zip(names, mae.tolist(), strict=True)},
                score=score,
                weights=dict(zip(names, balancer.current_weights(), strict=True)),
                cosine=cosine,
                seconds=time.monotonic() - began,
                cosines=_mean_cosines(angles, names) if angle_batches else None,
            )
        )
        state: dict[str, Any] = {
            "network": network.state_dict(),
            "balancer": balancer.state_dict(),
            "optimiser": optimiser.state_dict(),
            "average": averaging.average if averaging else {},
            "average_steps": averaging.steps if averaging else 0,
            "history": [line.plain() for line in history],
            "best": best,
            "best_score": best_score,
            "since_best": since_best,
        }
        run.save(state, history[-1])
        if progress is not None:
            progress(Progress(history[-1], config.epochs))

    run.close()
    network.load_state_dict(best)
    network.edge_dtype = torch.float32
    return TrainedModel(
        network=network.cpu().eval(),
        scaler=scaler,
        graph_settings=preset.graph,
        training={
            "config": config.plain(),
            "split": split.name,
            "split_seed": split.seed,
            **({"processes": n} if (n := process_group.size()) > 1 else {}),
            **origin,
            **training_kinds(train_part, names),
            NOTE: [one.model_dump(mode="json") for one in seen],
        },
        training_hash=data_hash,
        training_elements=tuple(sorted({element for entry in train_part for element in entry.elements})),
        history=tuple(line.plain() for line in history),
    )


def _mean_cosines(
    angles: Sequence[dict[tuple[int, int], torch.Tensor]], names: Sequence[str]
) -> dict[str, float]:
    """Mean over batches of the cosine of each pair of targets that had labels in one of them."""
    values: dict[tuple[int, int], list[torch.Tensor]] = {}
    for found in angles:
        for pair, cosine in found.items():
            values.setdefault(pair, []).append(cosine)
    return {pair_name(names[a], names[b]): float(torch.stack(of).mean()) for (a, b), of in values.items()}


def validation_errors(
    output: torch.Tensor, values: torch.Tensor, scaler: Scaler, columns: Columns
) -> torch.Tensor:
    """Absolute errors [n, T] of outputs [n, W], in the targets' units; NaN without label in `values` [n, T].

    Of classes it is the probability that the true one is not given (`model.evaluation.criteria.MISSED`).
    """
    if not any(is_class for _, is_class in columns):
        return (scaler.unscale(output) - values).abs()
    errors = (scaler.unscale(output[:, [place.start for place, _ in columns]]) - values).abs()
    for t, (place, is_class) in enumerate(columns):
        if is_class:
            known = ~values[:, t].isnan()
            places = torch.where(known, values[:, t], 0.0).long()
            given = output[:, place].double().softmax(dim=1).gather(1, places[:, None])[:, 0]
            errors[:, t] = torch.where(known, 1 - given, torch.nan)
    return errors


def _predict_with(
    network: Network, weights: dict[str, torch.Tensor], graphs: Packed, *, swap: bool
) -> torch.Tensor:
    """Compute outputs [n, W] with other weights than the network's; leaves the network as it was."""
    if not swap:
        return predict_packed(network, graphs)
    own = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(weights)
    predicted = predict_packed(network, graphs)
    network.load_state_dict(own)
    return predicted
