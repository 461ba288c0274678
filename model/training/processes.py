"""Training of one network in several processes of this machine, with a GPU each where there are GPUs.

The calling process starts the others, passes on what the first of them reports after each epoch, and ends
them all when one fails. What they compute is `model.training.train.train`, each with its part of every batch;
sums over them are in `model.network.process_group`. Losses are those of one process to rounding, and the same
number of processes gives the same bits.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
import traceback
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from model.network import process_group
from model.network.convolution import edge_threads
from model.training.inputs import is_composition
from model.training.train import labelled, train
from stores.errors import InputError, MgsurfError, one_line, pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import SpawnProcess

    from model.data.dataset import Dataset
    from model.data.splits import Split
    from model.training.checkpoint import TrainedModel
    from model.training.presets import Preset
    from model.training.train import Progress
    from model.training.transfer import Start

GRACE = 2.0
"""Seconds after a failure in which the others may report theirs: often only one of them is the cause."""


def check_processes(number: int, preset: Preset) -> None:
    """Refuse a number of processes that a training with this preset cannot have, with an InputError."""
    if number < 1:
        raise InputError(f"--processes {number}: must be 1 or more")
    if number == 1:
        return
    if not distributed.is_available():
        raise InputError(f"--processes {number}: this build of torch has no torch.distributed; leave it out")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else None
    if gpus is not None and number > gpus:
        raise InputError(
            f"--processes {number}: each needs a GPU of its own, of which there are {gpus}; "
            f"choose at most {gpus}"
        )
    if number > (most := preset.training.batch_size):
        noun = "composition" if is_composition(preset.network) else "slab"
        raise InputError(
            f"--processes {number}: a batch has {pluralize(most, noun)} to divide; choose at most {most}"
        )
    if preset.training.balance.name == "pcgrad":
        raise InputError(
            f"--processes {number}: losses balanced by pcgrad are trained in one process; leave it out, or "
            "choose another training.balance.name"
        )


def train_in_processes(
    number: int,
    dataset: Dataset,
    split: Split,
    preset: Preset,
    *,
    folder: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    start: Start | None = None,
    angle_batches: int = 0,
) -> TrainedModel:
    """Train a network in a number of processes; one is the calling process.

    Parameters
    ----------
    number
        Of processes; without GPUs they share the threads that torch has here.
    dataset, split, preset, folder, progress, start, angle_batches
        See `model.training.train.train`. An unfinished training may have had another number of processes.

    Raises
    ------
    InputError
        If there are more processes than GPUs, slabs in a batch or labelled slabs in the validation set, and
        what `train` raises.
    MgsurfError
        If a process was killed; what it had after the last epoch is in `folder`.
    """
    check_processes(number, preset)
    most = len(labelled(dataset, split.val, preset.network.targets, "validation"))
    if number > most:
        raise InputError(
            f"--processes {number}: the validation set has {pluralize(most, dataset.noun)} with labels to "
            f"divide; choose at most {most}"
        )
    arguments: dict[str, Any] = {
        "dataset": dataset,
        "split": split,
        "preset": preset,
        "folder": folder,
        "start": start,
        "angle_batches": angle_batches,
    }
    if number == 1:
        return train(**arguments, progress=progress)
    if start is not None:  # a network needs no trees and process
        arguments["start"] = replace(start, descriptor_models={})
    with _started(number, arguments) as workers:
        return _follow(workers, progress)


@dataclass(frozen=True)
class _Worker:
    """A process of a training, and where it reports."""

    process: SpawnProcess
    reports: Connection


@contextmanager
def _started(number: int, arguments: dict[str, Any]) -> Iterator[list[_Worker]]:
    """Start processes; kill those that still run when the context ends."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, edge_threads() // number)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mgsurf-")))
        # in a file: a start would wait until the process, which first imports torch, has read so much
        (folder / "arguments").write_bytes(pickle.dumps(arguments))
        workers: list[_Worker] = []
        stack.callback(_end, workers)
        # a terminal sends Ctrl-C to all, but only this process shall end the others: they inherit the mask.
        # The tracker, which the first start would start, too, would lift it
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for rank in range(number):
                reports, sender = context.Pipe(duplex=False)
                given = (rank, number, threads, folder, sender)
                process = context.Process(target=_work, args=given, daemon=True)
                process.start()
                sender.close()  # so that the end of the process ends its reports
                workers.append(_Worker(process, reports))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield workers


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join()
        worker.reports.close()


def _follow(workers: list[_Worker], progress: Callable[[Progress], None] | None) -> TrainedModel:
    """Pass on reports of progress until all processes ended; return the model or raise their first error."""
    running = {worker.reports: rank for rank, worker in enumerate(workers)}
    model: TrainedModel | None = None
    failures: list[tuple[int, int, BaseException]] = []  # how likely a consequence, order, error
    while running and (ready := wait(list(running), GRACE if failures else None)):
        for reports in ready:
            assert isinstance(reports, Connection)
            rank = running[reports]
            try:
                kind, value = pickle.loads(reports.recv_bytes())
            except (EOFError, OSError):  # OSError: killed while it reported
                del running[reports]
                workers[rank].process.join()
                if code := workers[rank].process.exitcode:
                    killed = _killed(rank, len(workers), code)
                    failures.append((0 if code < 0 else 3, len(failures), killed))
                continue
            if kind == "progress" and progress is not None and not failures:
                progress(value)
            elif kind == "model":
                model = value
            elif kind == "error":
                failures.append((1 if isinstance(value, MgsurfError | OSError) else 2, len(failures), value))
    if failures:
        raise min(failures, key=lambda failure: failure[:2])[2]
    assert model is not None
    return model


def _killed(rank: int, number: int, code: int) -> MgsurfError:
    try:
        cause = f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        cause = f"ended with status {code}"
    return MgsurfError(
        f"process {rank + 1} of {number} of the training {cause}, the others were stopped: free memory if it "
        "ran out, and repeat the command; it resumes after the last epoch"
    )


def _work(rank: int, number: int, threads: int, folder: Path, reports: Connection) -> None:
    """Train as one of `number` processes with the arguments in `folder`, and report to their parent."""
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    warnings.simplefilter("ignore")  # those of torch are not for users
    torch.set_num_threads(threads)

    def report(kind: str, value: object) -> None:
        reports.send_bytes(pickle.dumps((kind, value)))

    try:
        with process_group.joined(rank, number, folder / "meeting"):
            arguments = pickle.loads((folder / "arguments").read_bytes())
            model = train(**arguments, progress=None if rank else partial(report, "progress"))
        if not rank:
            report("model", model)
    except (MgsurfError, OSError) as error:
        report("error", error)
    except Exception as error:  # noqa: BLE001 -- the process that started this one raises it
        failed = RuntimeError(f"process {rank + 1} of {number}: {one_line(error)[:200]}")
        failed.add_note(traceback.format_exc())
        report("error", failed)


def _end_with_parent(folder: Path) -> None:
    """End this process, which may wait for others for ever, when the one that started it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)
