"""Turn the jobs' announcements into a progress bar, a running.json and a list of problems."""

from __future__ import annotations

import json
import logging
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from stores.input_files import read_json
from workflows.jobs.progress import PROGRESS, Event, Stage

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console


@dataclass
class Tally:
    """What a run did.

    Attributes
    ----------
    computed, reused
        Labels of calculations that were run, or found in the store.
    problems
        Pairs of label and reason, in order, each once.
    records
        Ids of the surface records made or confirmed.
    """

    computed: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    records: list[str] = field(default_factory=list)

    def add_problem(self, label: str, reason: str) -> bool:
        """Note a problem; False if it was known already."""
        if (label, reason) in self.problems:
            return False
        self.problems.append((label, reason))
        return True


class RunListener(logging.Handler):
    """Listens to `workflows.jobs.progress` while a flow runs; use it as a context manager.

    Parameters
    ----------
    console
        Where the bar and the lines go.
    work_dir
        Where ``running.json`` tells `mgsurf status` what is in work.
    quiet
        No bar and no lines, only the tally.
    """

    def __init__(self, console: Console, work_dir: Path, quiet: bool = False) -> None:
        super().__init__(logging.INFO)
        self.console = console
        self.quiet = quiet
        self.tally = Tally()
        self._running = work_dir / "running.json"
        self._costs: dict[str, float] = {}
        self._done: set[str] = set()
        self._seconds = 0.0
        self._computed_cost = 0.0
        self._started = monotonic()
        self._level = PROGRESS.level
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=1.0, count="", left="")

    def __enter__(self) -> RunListener:
        """Start listening."""
        PROGRESS.setLevel(logging.INFO)
        PROGRESS.addHandler(self)
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and remove this run's ``running.json``."""
        self._progress.stop()
        PROGRESS.removeHandler(self)
        PROGRESS.setLevel(self._level)
        self._forget_running()

    def emit(self, record: logging.LogRecord) -> None:
        """Handle one announcement."""
        event: Event | None = getattr(record, "mgsurf_event", None)
        if event is None:
            return
        match event.stage:
            case Stage.PLANNED:
                self._costs.setdefault(event.label, event.cost)
            case Stage.STARTED:
                self._costs.setdefault(event.label, event.cost)
                self._write_running(event.label)
                self._progress.update(self._task, description=event.label)
            case Stage.FINISHED:
                self._costs.setdefault(event.label, event.cost)
                self.tally.computed.append(event.label)
                self._seconds += event.seconds
                self._computed_cost += event.cost
                self._say(f"  {event.label}", f"{event.seconds:.0f} s", "green")
                self._done.add(event.label)
            case Stage.REUSED:
                self._costs.setdefault(event.label, event.cost)
                self.tally.reused.append(event.label)
                self._done.add(event.label)
            case Stage.SKIPPED:
                self._costs.setdefault(event.label, event.cost)
                self._done.add(event.label)
            case Stage.PROBLEM:
                if self.tally.add_problem(event.label, event.text):
                    self._say(f"  {event.label}", event.text, "red")
            case Stage.NOTE:
                self._say(f"  {event.label}", event.text, "yellow")
            case Stage.RECORDED:
                self.tally.records.append(event.text)
        self._draw()

    def _say(self, label: str, text: str, style: str) -> None:
        if not self.quiet:
            self.console.print(Text.assemble(label, "  ", (text, style)), soft_wrap=True)

    def _draw(self) -> None:
        total = sum(self._costs.values())
        done = sum(self._costs[label] for label in self._done)
        left = ""
        if self._computed_cost > 0 and total > done:
            seconds = (total - done) * self._seconds / self._computed_cost
            left = f"about {_duration(seconds)} left"
        self._progress.update(
            self._task,
            total=total or 1.0,
            completed=done,
            count=f"{len(self._done)}/{len(self._costs)}",
            left=left,
        )

    def _write_running(self, label: str) -> None:
        state = {"pid": os.getpid(), "host": socket.gethostname(), "label": label}
        try:
            self._running.write_text(json.dumps(state))
        except OSError:
            logging.getLogger(__name__).debug("could not write %s", self._running)

    def _forget_running(self) -> None:
        """Remove ``running.json`` unless another run in the same folder wrote it."""
        try:
            try:
                state = read_json(self._running)
                ours = (state["pid"], state["host"]) == (os.getpid(), socket.gethostname())
            except (ValueError, KeyError, TypeError):
                ours = True  # Ctrl-C may have come while it was being written
            if ours:
                self._running.unlink(missing_ok=True)
        except OSError:
            logging.getLogger(__name__).debug("could not remove %s", self._running)


def _duration(seconds: float) -> str:
    """Return a rounded time for people: 40 s, 6 min, 2.5 h."""
    if seconds < 90:
        return f"{max(round(seconds, -1), 10):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
