"""What a model predicts that a training begins with: trees and process of the new model look at it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from model.baselines.kinds import predict_by_kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from model.baselines.blend import DescriptorModels
    from model.data.model_input import ModelInput
    from model.training.checkpoint import TrainedModel


@dataclass(frozen=True, eq=False)
class Source:
    """A network, with the trees and the process beside it."""

    model: TrainedModel
    descriptor_models: Mapping[str, DescriptorModels] = field(default_factory=dict)  # by kind of structure

    @classmethod
    def of(cls, model: TrainedModel, descriptor_models: Mapping[str, DescriptorModels]) -> Self:
        """Return what is kept of a model: no labelled rows, nothing that needs a source of its own."""
        kept = {kind: replace(one, rows=None) for kind, one in descriptor_models.items() if not one.sources}
        return cls(model, kept)

    @property
    def quantities(self) -> int:
        """Number S of the quantities that it predicts."""
        return len(self.model.targets) - len(self.model.class_names)

    def columns(self, graphs: Sequence[ModelInput]) -> NDArray[np.float64]:
        """Return the quantities that it predicts for graphs, in its order: [n, S]."""
        found = self.model.predict(graphs)
        if not found:
            return np.zeros((len(graphs), 0))
        if self.descriptor_models:
            found = predict_by_kind(self.descriptor_models, found, graphs).mean
        return np.stack([found[name] for name in self.model.targets if name in found], axis=1)


def descriptors_key(descriptor_models: Mapping[str, DescriptorModels]) -> str:
    """Hash the trees and the shares of models; "" if there are none."""
    digest = hashlib.sha256()
    for kind, one in sorted(descriptor_models.items()):
        for name, models in sorted(one.targets.items()):
            digest.update(repr((kind, name, models.shares)).encode())
            digest.update(models.forest.value.tobytes())
    return digest.hexdigest()[:32] if descriptor_models else ""
