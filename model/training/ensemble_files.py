"""The folder of an ensemble: written whole, or read with every file checked.

``manifest.json`` has the calibration, and checksums of all files and of itself; ``member-0.pt``,
``member-1.pt``, ... are the networks (`model.training.checkpoint`); ``map.pt`` is where the training slabs
lie in the first member's embedding. Where the ensemble has them, ``trees.pt`` are trees and a Gaussian
process (`model.baselines.blend`), ``class-trees.pt`` trees for classes (`model.baselines.class_trees`), and
``source.pt`` is the network of the model that was fine-tuned, if trees and process look at its predictions,
``source-trees.pt`` what stood beside it.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from model.baselines.class_trees import ClassModels
from model.baselines.kinds import kinds_from_state, state_of_kinds
from model.evaluation.calibration import Calibration
from model.evaluation.familiarity import TrainingMap
from model.training.checked_json import REMEDY, read_json, write_json
from model.training.checkpoint import load_model, save_model
from model.training.ensemble import Ensemble, check_alike
from model.training.source import Source
from model.training.tensor_files import file_checksum, read_tensors, write_tensors
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from model.baselines.blend import DescriptorModels

FORMAT = "mgsurf ensemble 1"
MANIFEST = "manifest.json"
MAP = "map.pt"
TREES = "trees.pt"
SOURCE = "source.pt"
SOURCE_TREES = "source-trees.pt"
CLASS_TREES = "class-trees.pt"

_BESIDE = {"trees": TREES, "class_trees": CLASS_TREES, "source": SOURCE, "source_trees": SOURCE_TREES}
"""Files that an ensemble may have beside its members, by their keys in the manifest."""
_KEYS = {"format", "members", *_BESIDE, "targets", "elements", "calibration", "temperatures", "sha256"}


def save_ensemble(ensemble: Ensemble, folder: Path) -> None:
    """Write an ensemble; the manifest comes last, so that a folder with one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    members = [f"member-{k}.pt" for k in range(len(ensemble.members))]
    for name, member in zip(members, ensemble.members, strict=True):
        save_model(member, folder / name)
    write_tensors(folder / MAP, ensemble.training_map.state())
    beside: dict[str, str | None] = {"trees": None}
    if ensemble.descriptor_models:
        beside["trees"] = TREES
        write_tensors(folder / TREES, state_of_kinds(ensemble.descriptor_models))
    if ensemble.class_models is not None:
        beside["class_trees"] = CLASS_TREES
        write_tensors(folder / CLASS_TREES, ensemble.class_models.state())
    if ensemble.source is not None:
        beside["source"] = SOURCE
        save_model(ensemble.source.model, folder / SOURCE)
        if ensemble.source.descriptor_models:
            beside["source_trees"] = SOURCE_TREES
            write_tensors(folder / SOURCE_TREES, state_of_kinds(ensemble.source.descriptor_models))
    manifest = {
        "format": FORMAT,
        "members": members,
        **beside,
        **({"temperatures": dict(ensemble.temperatures)} if ensemble.temperatures else {}),
        "targets": ensemble.targets,
        "elements": ensemble.elements,
        "calibration": {name: _plain(c) for name, c in ensemble.calibration.items()},
    }
    sha256 = {name: file_checksum(folder / name) for name in file_names(manifest)}
    write_json(folder / MANIFEST, {**manifest, "sha256": sha256})


def load_ensemble(folder: Path) -> Ensemble:
    """Read an ensemble from the folder of `save_ensemble`, or one that holds it as ``model/``.

    One of an older version, whose manifest has no checksums, is read as well.

    Raises
    ------
    InputError
        If there is none, or a file is missing, changed, cut off or foreign.
    """
    path = manifest_of(folder)
    if path is None:
        raise InputError(
            f"{folder}: holds no trained model (no {MANIFEST}); name the folder of a trained model "
            "with --model, or train one with mgsurf train"
        )
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        raise InputError(f"{path}: format {manifest.get('format')!r} is not {FORMAT!r}; train it again")
    try:
        if unknown := ", ".join(sorted(manifest.keys() - _KEYS)):
            raise ValueError(f"it has {unknown}")
        names, elements = file_names(manifest), tuple(_words(manifest["elements"]))
        calibration = {name: _calibration(values) for name, values in manifest["calibration"].items()}
        temperatures = {name: _temperature(t) for name, t in manifest.get("temperatures", {}).items()}
        sha256 = manifest.get("sha256", dict.fromkeys(names))
        if set(sha256) != set(names):
            raise ValueError("its checksums are of other files")
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is damaged ({error}); {REMEDY}") from error
    place = path.parent
    members = [load_model(place / name, sha256[name]) for name in manifest["members"]]
    check_alike(members, str(path))
    if set(calibration) != set(members[0].targets) - set(members[0].class_names):
        raise InputError(f"{path}: its calibration does not fit its members; {REMEDY}")
    state = read_tensors(place / MAP, sha256=sha256[MAP])
    try:
        training_map = TrainingMap.from_state(state, members[0].network.config.hidden)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{place / MAP}: is damaged ({error}); {REMEDY}") from error
    descriptor_models = {}
    if TREES in names:
        descriptor_models = _read_trees(place / TREES, sha256[TREES], members[0].targets)
    class_models = None
    if CLASS_TREES in names:
        class_models = _read_class_trees(place / CLASS_TREES, sha256[CLASS_TREES], members[0].class_names)
    source = _read_source(place, sha256) if SOURCE in names else None
    columns = {one.sources for one in descriptor_models.values()} - {0}
    if columns - ({0} if source is None else {source.quantities}):
        raise InputError(f"{path}: its source does not fit its trees; {REMEDY}")
    return Ensemble(
        tuple(members),
        calibration,
        training_map,
        elements,
        descriptor_models,
        class_models,
        temperatures,
        source,
    )


def manifest_of(folder: Path) -> Path | None:
    """Return the manifest of the ensemble in a folder or in its ``model/``; None if not found."""
    return next((p for p in (folder / MANIFEST, folder / "model" / MANIFEST) if p.is_file()), None)


def file_names(manifest: dict[str, Any]) -> list[str]:
    """Return the names of an ensemble's files, the manifest apart.

    Raises KeyError, TypeError or ValueError if the manifest is damaged.
    """
    members = manifest["members"]
    if not isinstance(members, list) or members != [f"member-{k}.pt" for k in range(len(members))]:
        raise ValueError("its members have other names than mgsurf gives")
    return [*members, MAP, *(name for key, name in _BESIDE.items() if manifest.get(key) is not None)]


def _read_source(place: Path, sha256: Mapping[str, str | None]) -> Source:
    model = load_model(place / SOURCE, sha256[SOURCE])
    if SOURCE_TREES not in sha256:
        return Source(model)
    return Source(model, _read_trees(place / SOURCE_TREES, sha256[SOURCE_TREES], model.targets))


def _read_trees(path: Path, sha256: str | None, targets: Sequence[str]) -> dict[str, DescriptorModels]:
    state = read_tensors(path, sha256=sha256)
    try:
        descriptor_models = kinds_from_state(state)
        if not all(set(one.targets) <= set(targets) for one in descriptor_models.values()):
            raise InputError("its trees and process are of other targets")
    except InputError as error:
        raise InputError(f"{path}: {error}; {REMEDY}") from error
    return descriptor_models


def _read_class_trees(path: Path, sha256: str | None, classes: Mapping[str, Sequence[str]]) -> ClassModels:
    try:
        models = ClassModels.from_state(read_tensors(path, sha256=sha256))
        if any(f.probabilities.shape[1] != len(classes.get(n, ())) for n, f in models.forests.items()):
            raise InputError("its trees are of other classes")
    except InputError as error:
        raise InputError(f"{path}: {error}; {REMEDY}") from error
    return models


def _words(values: Any) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{str(values)[:60]} is no list of names")
    return values


def _plain(calibration: Calibration) -> dict[str, Any]:
    """JSON knows no infinity."""
    return {k: v if math.isfinite(v) else None for k, v in asdict(calibration).items()}


def _temperature(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"temperature {str(value)[:60]} is no positive number")
    return float(value)


def _calibration(values: dict[str, Any]) -> Calibration:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise ValueError(f"{name} is {str(value)[:60]}, no number")
    plain: dict[str, Any] = {k: math.inf if v is None else float(v) for k, v in values.items()}
    return Calibration(**plain | {"n": int(values["n"])})
