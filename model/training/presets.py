"""Settings of a training, and named ones: the rows of Table 1 of Shi et al., and our own."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from model.graphs.graph import THICK_ENOUGH, GraphSettings
from model.network.composition_network import CompositionConfig
from model.network.network import NetworkConfig
from model.training.losses import BalanceConfig
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

TARGETS = ("surface_energy", "work_function")


@dataclass(frozen=True)
class OptimiserConfig:
    """Which optimiser and schedule."""

    name: str = "step"  # a key of `model.training.optimisers.SCHEDULES`
    learning_rate: float = 1e-3  # the largest one
    weight_decay: float = 0.0  # decoupled, per step and learning rate (AdamW)
    drop_after: int = 100  # epoch after which "step" takes a tenth of the learning rate


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained."""

    epochs: int = 150  # at most
    batch_size: int = 64  # slabs in a step
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    loss: str = "mse"  # or "huber": squared up to `huber_delta`, linear beyond
    huber_delta: float = 0.5  # in standard deviations of the target
    smoothing: bool = False  # label distribution smoothing: rare labels count more
    averaging: float = 0.0  # decay of the moving average of weights that is validated and kept; 0: none
    clip: float = 0.0  # largest norm of the gradient; 0: none
    patience: int = 0  # stop after so many epochs without a better validation; 0: never
    seed: int = 0  # of initial weights, order of batches and dropout
    bfloat16: bool = True  # on a GPU, compute edges in bfloat16
    # of classes: labels weigh as the number of their class to the power of minus this (0: alike); exponent
    # of the focal loss of Lin et al. (ICCV 2017, arXiv:1708.02002; 0: cross-entropy)
    class_balance: float = 0.0
    focal: float = 0.0

    def __post_init__(self) -> None:
        for name in ("class_balance", "focal"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"setting training.{name}: {getattr(self, name):g} is negative; 0 switches it off"
                )

    def plain(self) -> dict[str, Any]:
        """Return all fields for JSON; those of classes, which older trainings have not, only where used."""
        unused = {name for name in ("class_balance", "focal") if not getattr(self, name)}
        return {name: value for name, value in asdict(self).items() if name not in unused}


@dataclass(frozen=True)
class Preset:
    """Everything that decides how a model is made, but data and seed."""

    name: str  # on the command line
    about: str  # one line
    # how graphs are built, for training, calibration, test and prediction alike: kept in the checkpoint
    # (`model.training.checkpoint.TrainedModel.graph_settings`), from where a prediction takes it
    graph: GraphSettings
    features: str  # description of the elements, a key of `model.graphs.element_features.FEATURES`
    # network, training: see there
    network: NetworkConfig | CompositionConfig
    training: TrainingConfig
    # of the forest that stands beside the networks with a Gaussian process (`model.baselines.blend`); 0:
    # neither
    trees: int = 0


# Equivalent atoms are folded: the same result several times faster
_PAPER_GRAPH = GraphSettings(max_neighbours=12, cutoff=12.0, min_thickness=THICK_ENOUGH, fold=True)


def _paper(
    name: str, about: str, targets: tuple[str, ...] = TARGETS, *, surface: bool, gradnorm: bool
) -> Preset:
    """Make a row of Table 1: 12 neighbours, embedding 64, 3 convolutions, 3 hidden layers, Adam, MSE."""
    return Preset(
        name=name,
        about=about,
        graph=_PAPER_GRAPH,
        features="cgcnn",
        network=NetworkConfig(targets=targets, depth="flag" if surface else "none"),
        training=TrainingConfig(balance=BalanceConfig("gradnorm" if gradnorm else "equal")),
    )


_BEST_NETWORK = NetworkConfig(
    targets=TARGETS,
    element_features=21,
    depth="profile",
    pooling="surface",
    hidden_layers=2,
    head_layers=1,
    dropout=0.1,
)

_BEST = Preset(
    name="best",
    about="depth profile, surface attention, GradNorm, averaged weights, trees and Gaussian process",
    graph=replace(_PAPER_GRAPH, whole_shells=True),
    features="chemical",
    network=_BEST_NETWORK,
    training=TrainingConfig(
        epochs=100,
        batch_size=32,
        optimiser=OptimiserConfig("one-cycle", learning_rate=5e-3, weight_decay=0.05),
        balance=BalanceConfig("gradnorm"),
        loss="huber",
        averaging=0.995,
        clip=5.0,
    ),
    trees=200,
)

_PRESETS = (
    _paper(
        "stl-surface-energy",
        "CGCNN for the surface energy alone",
        ("surface_energy",),
        surface=False,
        gradnorm=False,
    ),
    _paper(
        "stl-work-function",
        "CGCNN for the work function alone",
        ("work_function",),
        surface=False,
        gradnorm=False,
    ),
    _paper("mtl", "CGCNN with two heads, equal weights", surface=False, gradnorm=False),
    _paper("gradnorm", "CGCNN with two heads, balanced by GradNorm", surface=False, gradnorm=True),
    _paper("surface", "CGCNN with two heads and the surface flag", surface=True, gradnorm=False),
    _paper("sem-cgcnn", "the paper's model: surface flag and GradNorm", surface=True, gradnorm=True),
    _BEST,
    replace(
        _BEST,
        name="best-foundation",
        about="best, and SevenNet-0's energies of atoms as descriptors of its trees and process",
        graph=replace(_BEST.graph, potential="sevennet-0"),
    ),
    replace(
        _BEST,
        name="best-angles",
        about="bulk crystals: best, and angles between bonds for network, trees and process",
        graph=replace(_BEST.graph, angles=True),
        network=replace(_BEST_NETWORK, targets=(), edges="angles"),
    ),
    Preset(
        name="mcvn",
        about="compositions: image, attention and raw features, averaged weights, trees",
        graph=_PAPER_GRAPH,  # not used
        features="chemical",
        network=CompositionConfig(
            targets=(),  # those that the data have
            element_features=21,
            hidden_layers=1,
            dropout=0.2,
        ),
        training=TrainingConfig(
            epochs=40,
            batch_size=128,
            optimiser=OptimiserConfig("one-cycle", learning_rate=4e-3, weight_decay=0.05),
            loss="huber",
            averaging=0.99,
            clip=5.0,
        ),
        trees=300,
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _PRESETS}


def find_preset(name: str) -> Preset:
    """Return the preset of this name; raises InputError if there is none."""
    if name not in PRESETS:
        raise InputError(f"no preset {name!r}: choose {', '.join(PRESETS)}")
    return PRESETS[name]


def with_params(preset: Preset, params: Mapping[str, Any]) -> Preset:
    """Return a preset with other settings; InputError if one does not exist or has another type."""
    for name, value in params.items():
        preset = _with(preset, name.split("."), value, name)
    return preset


def _with(target: T, path: list[str], value: Any, name: str) -> T:
    if not is_dataclass(target) or path[0] not in {f.name for f in fields(target)}:
        raise InputError(f"no setting {name!r}; settings are named like training.optimiser.learning_rate")
    old = getattr(target, path[0])
    if len(path) > 1:
        new = _with(old, path[1:], value, name)
    elif is_dataclass(old) or not _fits(value, old):
        raise InputError(f"setting {name}: {value!r} does not fit; it is {old!r} by default")
    else:
        new = value
    changed: Callable[..., T] = replace
    return changed(target, **{path[0]: new})


def _fits(value: Any, old: Any) -> bool:
    if isinstance(old, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(old, bool)
    return isinstance(value, (int, float) if isinstance(old, float) else type(old))
