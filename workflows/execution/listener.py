"""Turn the jobs' announcements into a progress bar, a running.json and a list of problems."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.text import Text

from stores.secrets import masked
from workflows.execution.progress_bar import ProgressBar
from workflows.execution.running import RunState, remove_running
from workflows.jobs.progress import PROGRESS, Event, Stage

NOTE_INTERVAL = 1.0
"""Least time between two notes of the same calculation (s)."""

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console


@dataclass
class Tally:
    """Calculations and problems of a run."""

    # labels of calculations that were started, that ended and were stored, or that the store had
    started: list[str] = field(default_factory=list)
    computed: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    # pairs of label and reason, in order, each once
    problems: list[tuple[str, str]] = field(default_factory=list)
    records: list[str] = field(default_factory=list)  # ids of the surface records made or confirmed

    def add_problem(self, label: str, reason: str) -> bool:
        """Note a problem; False if it was noted before."""
        if (label, reason) in self.problems:
            return False
        self.problems.append((label, reason))
        return True


class RunListener(logging.Handler):
    """Listens to `workflows.jobs.progress` while a flow runs; use it as a context manager.

    Bar and lines go to the console, unless `quiet`; ``running.json``, which `mgsurf status` reads, to
    `work_dir`, with the name of the `campaign` and of its `store`, and the `cores` that a calculation uses.
    """

    def __init__(
        self,
        console: Console,
        work_dir: Path,
        quiet: bool = False,
        *,
        campaign: str = "",
        store: str = "",
        cores: int = 0,
    ) -> None:
        super().__init__(logging.INFO)
        self.console = console
        self.quiet = quiet
        self.tally = Tally()
        self._work_dir = work_dir
        self._state = RunState(
            os.getpid(), socket.gethostname(), "", campaign=campaign, store=masked(store), cores=cores
        )
        self._costs: dict[str, float] = {}
        self._done: set[str] = set()
        self._seconds = 0.0
        self._computed_cost = 0.0
        self._started = monotonic()
        self._level = PROGRESS.level
        self._label = "starting"
        self._noted: set[str] = set()
        self._last_note = 0.0
        # where there is no terminal every calculation has its line, so that the bar needs none
        self._bar = ProgressBar(quiet, console=console, lines=False)

    def __enter__(self) -> RunListener:
        """Start listening."""
        PROGRESS.setLevel(logging.INFO)
        PROGRESS.addHandler(self)
        self._bar.__enter__()
        self._draw()
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop listening and remove this run's ``running.json``."""
        self._bar.__exit__(*error)
        PROGRESS.removeHandler(self)
        PROGRESS.setLevel(self._level)
        remove_running(self._work_dir)

    def emit(self, record: logging.LogRecord) -> None:
        """Handle one announcement."""
        event: Event | None = getattr(record, "mgsurf_event", None)
        if event is None:
            return
        if event.stage in (Stage.PLANNED, Stage.STARTED, Stage.FINISHED, Stage.REUSED, Stage.SKIPPED):
            self._costs.setdefault(event.label, event.cost)
        match event.stage:
            case Stage.STARTED:
                self.tally.started.append(event.label)
                self._label = event.label
                self._state.label, self._state.directory = event.label, event.text
            case Stage.FINISHED:
                self.tally.computed.append(event.label)
                self._seconds += event.seconds
                self._computed_cost += event.cost
                self._report(f"  {event.label}", f"{event.seconds:.0f} s", "green")
                self._done.add(event.label)
            case Stage.REUSED:
                self.tally.reused.append(event.label)
                self._done.add(event.label)
            case Stage.SKIPPED:
                self._done.add(event.label)
            case Stage.PROBLEM:
                if self.tally.add_problem(event.label, event.text):
                    self._report(f"  {event.label}", event.text, "red")
            case Stage.NOTE:
                self._report(f"  {event.label}", event.text, "yellow")
            case Stage.RECORDED:
                self.tally.records.append(event.text)
        self._draw()

    def _report(self, label: str, text: str, style: str) -> None:
        if not self.quiet:
            self.console.print(Text.assemble(label, "  ", (text, style)), soft_wrap=True)

    def _draw(self) -> None:
        total = sum(self._costs.values())
        done = sum(self._costs[label] for label in self._done)
        left = (total - done) * self._seconds / self._computed_cost if self._computed_cost > 0 else 0.0
        count = f"{len(self._done)}/{len(self._costs)}" if self._costs else ""
        self._bar.show("computing", done, total or 1.0, self._label, count=count, seconds_left=left)
        self._note(left)

    def _note(self, seconds_left: float) -> None:
        """Write ``running.json``, of many changes in a moment only the first."""
        if not self._state.label:
            return
        begins, now = self._state.label not in self._noted, monotonic()
        if not begins and now - self._last_note < NOTE_INTERVAL:
            return
        self._noted.add(self._state.label)
        self._last_note = now
        self._state.planned, self._state.done = len(self._costs), len(self._done)
        self._state.computed, self._state.reused = len(self.tally.computed), len(self.tally.reused)
        self._state.problems, self._state.seconds_left = len(self.tally.problems), round(seconds_left, 1)
        self._state.write(self._work_dir)
