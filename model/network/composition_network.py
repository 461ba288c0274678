"""MCVN: a convolutional network on the image of a composition, attention over its elements, raw features.

After the material composition visualization network of Yu, Wu, Zhang and Qian (poster at the 7th Forum of
Materials Genome Engineering): composition features are arranged as a grey-scale image that a convolutional
network reads, with self-attention and the raw features beside it. Attention is that of Vaswani et al.
(arXiv:1706.03762), here over the elements of a composition.

Shapes: B compositions of at most k elements, P = 58 properties, S = 7 statistics, P S = 406 features, C
channels, H hidden units, M numeric columns, T targets with W outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from model.compositions.features import STATISTICS, fraction_names
from model.compositions.image import SIDE
from model.network.heads import HeadedNetwork, HeadsConfig
from model.network.process_group import BatchDropout
from stores.errors import InputError

if TYPE_CHECKING:
    from model.compositions.batch import CompositionBatch

BOUND = 4.0
"""Standardised features are cut here: a composition unlike all others must not be far from everything."""

_SMALLEST = 1e-4  # fraction below which the logarithm of fractions does not fall any further


@dataclass(frozen=True)
class CompositionConfig(HeadsConfig):
    """What a network on compositions is made of; enough, with its weights, to build it again."""

    properties: int = 58  # P, of the elements; each has a cell of the image
    # arrangement of the image, see `model.compositions.image`; "none": no image
    image: str = "likeness"
    attention: bool = True  # whether the elements attend to each other
    raw: bool = True  # whether the shared layers see features, fractions and numeric columns themselves
    embedding: int = 64  # channels C of image and attention
    extras: tuple[str, ...] = ()  # names of the M numeric columns

    def plain(self) -> dict[str, Any]:
        """Return all fields for JSON, with a mark that tells them from those of a network of graphs."""
        return {**super().plain(), "input": "composition"}


class CompositionNetwork(HeadedNetwork):
    """Compositions to standardised targets, or logits of classes.

    Image, attention and raw features side by side, then shared layers and heads. What scales the inputs is
    learned from the training set (`learn_inputs`) and kept with the weights.

    Parameters
    ----------
    config
        What the network is made of.
    elements
        [Z + 1, F] float32, features of each element in the row of its atomic number.
    """

    def __init__(self, config: CompositionConfig, elements: torch.Tensor) -> None:
        super().__init__(config, elements)
        self.config = config
        features, extras = config.properties * len(STATISTICS), len(config.extras)
        # of the training set: mean and inverse deviation of all raw inputs, ends of the grey scale
        for name, width in (("feature", features), ("fraction", len(fraction_names())), ("extra", extras)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_scale", torch.ones(width))
        self.register_buffer("darkest", torch.zeros(features))
        self.register_buffer("brightest", torch.ones(features))
        self.register_buffer("cells", torch.arange(config.properties))  # [P], row * SIDE + column
        self.cells: torch.Tensor
        self.darkest: torch.Tensor
        self.brightest: torch.Tensor
        width = 0
        if config.image != "none":
            self.image = _ImageBranch(config)
            width += config.embedding
        if config.attention:
            if config.embedding % _ElementAttention.heads:
                raise InputError(
                    f"setting network.embedding: {config.embedding} is no multiple of "
                    f"{_ElementAttention.heads}, the number of attention heads; choose 64"
                )
            self.attention = _ElementAttention(config)
            width += config.embedding
        if config.raw:
            self.raw = nn.Linear(features + len(fraction_names()) + 2 * extras, config.hidden)
            width += config.hidden
        if not width:
            raise InputError("the network has neither image, attention nor raw features: choose one")
        self.build_heads(config, width)

    def learn_inputs(self, batch: CompositionBatch, cells: torch.Tensor) -> None:
        """Take the scales of the inputs from the training set; `cells` [P]: places in the image."""
        for name, values in (
            ("feature", batch.features),
            ("fraction", batch.fractions),
            ("extra", batch.extras),
        ):
            known = ~values.isnan()
            count = known.sum(0).clamp(min=1)
            mean = torch.where(known, values, 0.0).sum(0) / count
            square = torch.where(known, values - mean, 0.0).square().sum(0) / count
            std = square.sqrt()
            varies = std > 1e-6 * mean.abs().clamp(min=1e-6)
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_scale").copy_(torch.where(varies, 1 / std, 0.0))
        low, high = batch.features.min(0).values, batch.features.max(0).values
        self.darkest.copy_(low)
        self.brightest.copy_(torch.where(high > low, high, low + 1))
        self.cells.copy_(cells)

    def grey_scale(self, features: torch.Tensor) -> torch.Tensor:
        """Features [B, P S] as images [B, S, SIDE, SIDE]: 0 to 1 over the training set, 0 in empty cells."""
        grey = ((features - self.darkest) / (self.brightest - self.darkest)).clamp(0.0, 1.0)
        image = grey.new_zeros(len(grey), len(STATISTICS), SIDE * SIDE)
        image[:, :, self.cells] = grey.view(len(grey), len(STATISTICS), -1)
        return image.view(-1, len(STATISTICS), SIDE, SIDE)

    def raw_inputs(self, batch: CompositionBatch) -> torch.Tensor:
        """Return standardised features, fractions and numeric columns, with masks of these: [B, D]."""
        parts = []
        for name, values in (("feature", batch.features), ("fraction", batch.fractions)):
            scaled = (values - getattr(self, f"{name}_mean")) * getattr(self, f"{name}_scale")
            parts.append(scaled.clamp(-BOUND, BOUND))
        if self.config.extras:
            missing = batch.extras.isnan()
            scaled = (batch.extras - self.extra_mean) * self.extra_scale  # type: ignore[operator]  # buffers
            parts += [torch.where(missing, 0.0, scaled).clamp(-BOUND, BOUND), missing.float()]
        return torch.cat(parts, dim=1)

    def trunk(self, batch: CompositionBatch) -> torch.Tensor:
        """Apply branches and shared layers: [B, H]."""
        parts = []
        if self.config.image != "none":
            parts.append(self.image(self.grey_scale(batch.features)))
        if self.config.attention:
            parts.append(self.attention(batch.numbers, batch.amounts, self.elements))
        if self.config.raw:
            parts.append(nn.functional.silu(self.raw(self.dropout(self.raw_inputs(batch)))))
        return self.through_shared(torch.cat(parts, dim=1))

    def forward(self, batch: CompositionBatch) -> torch.Tensor:
        """Predict standardised targets, or logits of their classes: [B, W], see `HeadsConfig.columns`."""
        return self.from_trunk(self.trunk(batch))


class _ImageBranch(nn.Module):
    """Two convolutions of 3 x 3 cells, the second with a stride of 2, and a linear map of what they see."""

    def __init__(self, config: CompositionConfig) -> None:
        super().__init__()
        channels = config.embedding // 2
        self.layers = nn.Sequential(
            nn.Conv2d(len(STATISTICS), channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1, stride=2),
            nn.SiLU(),
            nn.Flatten(),
            BatchDropout(config.dropout),
            nn.Linear(channels * (SIDE // 2) ** 2, config.embedding),
            nn.SiLU(),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Read images [B, S, SIDE, SIDE]: [B, C]."""
        read: torch.Tensor = self.layers(images)
        return read


class _ElementAttention(nn.Module):
    """Self-attention over the elements of a composition, then their mean weighted by their fractions."""

    heads = 4
    frequencies = 8

    def __init__(self, config: CompositionConfig) -> None:
        super().__init__()
        width = config.embedding
        self.embed = nn.Linear(config.element_features, width)
        self.own = nn.Embedding(len(fraction_names()) + 1, width)
        nn.init.normal_(self.own.weight, std=0.1)
        self.amount = nn.Linear(2 * self.frequencies, width)
        self.block = _Block(width, self.heads)
        self.norm = nn.LayerNorm(width)
        self.register_buffer("centres", torch.linspace(0.0, 1.0, self.frequencies), persistent=False)
        self.centres: torch.Tensor

    def forward(self, numbers: torch.Tensor, amounts: torch.Tensor, elements: torch.Tensor) -> torch.Tensor:
        """Pool atomic numbers and fractions [B, k], with elements [Z + 1, F], to [B, C]."""
        # fractions on a linear and on a logarithmic scale: traces matter as well as per cents
        logarithm = 1 - amounts.clamp(min=_SMALLEST).log() / torch.tensor(_SMALLEST).log()
        scales = torch.stack([amounts, logarithm], dim=-1)[..., None]  # [B, k, 2, 1]
        seen = torch.exp(-(((scales - self.centres) * self.frequencies) ** 2)).flatten(2)
        tokens = self.embed(elements)[numbers] + self.own(numbers) + self.amount(seen)  # [B, k, C]
        tokens = self.block(tokens, numbers == 0)
        pooled: torch.Tensor = (self.norm(tokens) * amounts[..., None]).sum(1)
        return pooled


class _Block(nn.Module):
    """Attention and a two-layer map, each after a norm and beside a short cut (pre-norm transformer)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.after = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, tokens: torch.Tensor, empty: torch.Tensor) -> torch.Tensor:
        """Map tokens [B, k, C]; `empty` [B, k] are those without an element."""
        b, k, c = tokens.shape
        parts = self.qkv(self.norm_in(tokens)).view(b, k, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(
            parts[0], parts[1], parts[2], attn_mask=~empty[:, None, None, :]
        )
        tokens = tokens + self.mix(seen.transpose(1, 2).reshape(b, k, c))
        changed: torch.Tensor = tokens + self.after(self.norm_out(tokens))
        return changed
