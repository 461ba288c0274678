"""Work in another process that dies in the middle of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from stores.surfaces import SurfaceStore


def in_children(*works: Callable[[], object]) -> list[tuple[str, int]]:
    """Run each in a process of its own, all at once; return the result and the signal that ended each."""
    started = []
    for work in works:
        here, there = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                text = str(work())
            except BaseException as error:  # noqa: BLE001 -- sent to the parent
                text = f"{type(error).__name__}: {error}"
            os.write(there, text.encode())
            os._exit(0)
        os.close(there)
        started.append((child, here))
    results = []
    for child, here in started:
        with os.fdopen(here) as pipe:
            text = pipe.read()
        results.append((text, os.WTERMSIG(os.waitpid(child, 0)[1])))
    return results


def in_a_child(work: Callable[[], object]) -> tuple[str, int]:
    """Run one of them."""
    return in_children(work)[0]


def kill_at(store: SurfaceStore, last: int) -> None:
    """Let this process die at the step `last`, each write to the store being two: before it, and after."""
    step = 0

    def next_step() -> None:
        nonlocal step
        step += 1
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(write: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            next_step()
            result = write(*arguments, **options)
            next_step()
            return result

        return run

    for collection in store._collections.values():
        for name in ("insert", "upsert"):
            setattr(collection, name, dying(getattr(collection, name)))
