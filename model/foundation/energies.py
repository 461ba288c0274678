"""Energies of the atoms of many slabs by a potential: from a cache on disk, else computed in processes.

Their key is a hash of the atoms that the potential sees and of its weights. What is computed is kept
at once, so that an interruption costs a few slabs.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import zlib
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from typing import TYPE_CHECKING

import numpy as np

from model.foundation.potential import HCP_MG, load_potential, weights_file, weights_hash
from model.graphs.blob_file import BlobFile
from stores.errors import InputError
from stores.paths import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from model.graphs.slab_frame import SlabFrame

    Energies = NDArray[np.float32]
    Answer = Energies | InputError

KEPT_AT_ONCE = 16  # slabs put into the cache together; one takes a fifth of a second
POOL_FROM = 100
"""Slabs from which on processes are started: each loads torch and the potential first, for some 4 s. A
prediction, which has processes of its own, asks for fewer at once."""

_DIGITS = 6  # of coordinates in a key (A)


def default_cache_file() -> Path:
    """Return ``potentials.sqlite`` in the folder of caches."""
    return cache_folder() / "potentials.sqlite"


class EnergyCache:
    """Energies [N] of the atoms of slabs by their key; see `model.graphs.blob_file.BlobFile`."""

    def __init__(self, path: Path | None = None) -> None:
        self._file = BlobFile(path or default_cache_file(), "slabs", "energies", "potential")

    def get(self, keys: Sequence[str]) -> dict[str, Energies]:
        """Return those that are there."""
        return self._file.read(keys, unpack)

    def put(self, found: dict[str, Energies]) -> None:
        """Write energies; those under the same key are replaced."""
        self._file.write({key: pack(energies) for key, energies in found.items()})


def pack(energies: Energies) -> bytes:
    """Write energies as bytes: CRC-32 of the rest, then float32, little-endian."""
    body = energies.astype("<f4").tobytes()
    return zlib.crc32(body).to_bytes(4, "little") + body


def unpack(text: bytes) -> Energies:
    """Read energies from `pack`; raises ValueError if the bytes are none."""
    if int.from_bytes(text[:4], "little") != zlib.crc32(memoryview(text)[4:]):
        raise ValueError("the energies are damaged")
    return np.frombuffer(text, "<f4", offset=4).astype(np.float32)


def energy_key(frame: SlabFrame, potential: str) -> str:
    """Return the key of a slab's energies: a hash of its atoms and of the potential's weights."""
    digest = hashlib.sha256(f"{potential} {weights_hash(potential)} ".encode())
    digest.update(np.ascontiguousarray(frame.numbers, dtype="<i8").tobytes())
    for values in (frame.cell, frame.positions):
        digest.update((np.round(values, _DIGITS) + 0.0).astype("<f8").tobytes())
    return digest.hexdigest()


def slab_energies(
    frames: Sequence[SlabFrame],
    potential: str,
    *,
    cache: EnergyCache | None = None,
    workers: int | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> list[Answer]:
    """Return the energies of each slab's atoms (eV), [N] each, or the reason why there are none.

    Parameters
    ----------
    frames
        The slabs.
    potential
        A key of `model.foundation.potential.WEIGHTS`.
    cache
        Where energies are searched and kept; None computes all.
    workers
        Processes at most; by default one for each core. A process of somebody's pool starts none.
    tick
        Called with the number of slabs done and how many there are.

    Raises
    ------
    InputError
        If the potential is unknown or not installed.
    """
    weights_file(potential)
    keys = [energy_key(frame, potential) for frame in frames]
    found: dict[str, Answer] = dict(cache.get(keys)) if cache is not None else {}
    missing = {key: frame for key, frame in zip(keys, frames, strict=True) if key not in found}
    if tick is not None:
        tick(len(frames) - len(missing), len(frames))
    fresh: dict[str, Energies] = {}
    done = len(frames) - len(missing)
    try:
        for key, answer in _computed(missing, potential, _processes(len(missing), workers)):
            found[key] = answer
            if not isinstance(answer, InputError):
                fresh[key] = answer
            if cache is not None and len(fresh) >= KEPT_AT_ONCE:
                cache.put(fresh)
                fresh = {}
            done += 1
            if tick is not None:
                tick(min(done, len(frames)), len(frames))
    finally:
        if cache is not None:
            cache.put(fresh)
    return [found[key] for key in keys]


def magnesium_energy(potential: str, cache: EnergyCache | None = None) -> float:
    """Return the energy of an atom of hcp Mg (eV); from the cache the potential need not be loaded."""
    key = f"hcp Mg {HCP_MG} {potential} {weights_hash(potential)}"
    found = {} if cache is None else cache.get([key])
    if key not in found:
        found[key] = load_potential(potential).magnesium()
        if cache is not None:
            cache.put(found)
    return float(found[key].mean())


def _processes(missing: int, workers: int | None) -> int:
    if missing < POOL_FROM or multiprocessing.parent_process() is not None:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(workers or cores, missing)


def _computed(frames: dict[str, SlabFrame], potential: str, processes: int) -> Iterator[tuple[str, Answer]]:
    """Yield the energies of each slab as they are done."""
    if processes == 1:
        for key, frame in frames.items():
            yield key, _energies(frame, potential)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_leave_interrupts)
    waiting: dict[Future[Answer], str] = {}
    try:
        rest = iter(frames.items())
        while True:
            while len(waiting) < 2 * processes and (following := next(rest, None)) is not None:
                waiting[pool.submit(_energies, following[1], potential)] = following[0]
            if not waiting:
                return
            for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(done), done.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts() -> None:
    """Have Ctrl-C end the command alone, which keeps what is computed and ends its processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _energies(frame: SlabFrame, potential: str) -> Answer:
    try:
        return load_potential(potential).energies(frame)
    except InputError as error:
        return error
