"""The processes of one training: sums over them, and the part of a batch that each one computes.

Every process holds the whole network and a part of each batch; whatever one process would sum over the whole
batch (losses, moments of batch norms) is summed over all. Each then has the same loss L, so that their
objectives add up to N L: the backward pass of a sum over processes is such a sum again, and the mean over
processes of a parameter's gradient, as DistributedDataParallel takes it, is the gradient of L. These are the
rules of `torch.nn.SyncBatchNorm`. In one process every function returns what it is given.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from dataclasses import dataclass
from os import environ
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class _Membership:
    """Place of this process among those of a training."""

    rank: int = 0
    size: int = 1
    # of the batch at hand: its rows, and the first of those that are this process's
    batch_rows: int = 0
    first_row: int = 0


_SELF = _Membership()


def size() -> int:
    """Return the number of processes that train together."""
    return _SELF.size


def rank() -> int:
    """Return the number of this process, from 0; the first one writes files and reports."""
    return _SELF.rank


@contextmanager
def joined(rank: int, size: int, meeting_file: Path) -> Iterator[None]:
    """Let this process take part in sums over `size` processes of one machine, each with its GPU if any.

    meeting_file: path of a file that does not exist yet, the same for all of them.
    """
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(rank)
    elif loopback := [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]:
        # by default gloo listens on the address of the host's name, if that has any
        environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])
    distributed.init_process_group(
        "nccl" if gpus and distributed.is_nccl_available() else "gloo",
        store=distributed.FileStore(str(meeting_file), size),  # a URL would not know all paths
        rank=rank,
        world_size=size,
    )
    _SELF.rank, _SELF.size = rank, size
    try:
        yield
    finally:
        _SELF.rank, _SELF.size = 0, 1
    distributed.destroy_process_group()  # not after an error: it may wait for the others for ever


def device() -> torch.device:
    """Return the device of this process: its GPU, else the processor."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", _SELF.rank) if _SELF.size > 1 else torch.device("cuda")


def share_of(length: int) -> slice:
    """Return which of so many rows are this process's: parts differ by one row at most, and may be empty."""
    each, more = divmod(length, _SELF.size)
    first = _SELF.rank * each + min(_SELF.rank, more)
    return slice(first, first + each + (_SELF.rank < more))


def take_share(batch: torch.Tensor) -> torch.Tensor:
    """Return this process's part of the slabs of a batch [B], which `BatchDropout` then knows, too."""
    share = share_of(len(batch))
    _SELF.batch_rows, _SELF.first_row = len(batch), share.start
    return batch[share]


def total(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Sum tensors of one type over all processes, with gradient: the same bits in every process."""
    if _SELF.size == 1:
        return values
    flat: torch.Tensor = _Sum.apply(torch.cat([value.reshape(-1) for value in values]))  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    parts = torch.split(flat, [value.numel() for value in values])
    return tuple(part.view_as(value) for part, value in zip(parts, values, strict=True))


def mean(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Average tensors of one type over all processes."""
    return values if _SELF.size == 1 else tuple(value / _SELF.size for value in total(*values))


def gathered(rows: torch.Tensor, length: int) -> torch.Tensor:
    """Put the parts [n, W] of all processes, as `share_of` divides them, together: [length, W]."""
    if _SELF.size == 1:
        return rows
    whole = rows.new_zeros(length, *rows.shape[1:])
    whole[share_of(length)] = rows
    return total(whole)[0]


def with_shared_gradients(network: nn.Module) -> nn.Module:
    """Return what to call instead of a network, so that a backward pass averages gradients over processes."""
    if _SELF.size == 1:
        return network
    # running statistics follow from sums over all processes: they are the same everywhere
    return nn.parallel.DistributedDataParallel(network, broadcast_buffers=False)


class _Sum(torch.autograd.Function):
    """Sum over processes, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        """Leave the input as it is."""
        summed = values.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        """Sum the gradients, since the result counts in every process's loss."""
        summed: torch.Tensor = _Sum.apply(grads[0])  # type: ignore[no-untyped-call]  # as above
        return summed


class BatchDropout(nn.Dropout):
    """Dropout that leaves out the same units of a batch whatever number of processes share it.

    On a processor the same as in one process, bit by bit: the units of the whole batch are drawn everywhere.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Values [B, ...], the first axis being divided among processes."""
        if _SELF.size == 1 or not self.training or not self.p:
            return super().forward(values)
        kept = values.new_empty(_SELF.batch_rows, *values.shape[1:]).bernoulli_(1 - self.p)
        own = kept[_SELF.first_row : _SELF.first_row + len(values)]
        return values * own.div_(1 - self.p)
