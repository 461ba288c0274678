"""Turn the jobs' announcements into a progress bar, a running.json and a list of problems."""

from __future__ import annotations

import json
import logging
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.text import Text

from stores.input_files import read_json
from workflows.execution.progress_bar import ProgressBar
from workflows.jobs.progress import PROGRESS, Event, Stage

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
    `work_dir`.
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
        self._label = "starting"
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
        self._remove_running()

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
                self._write_running(event.label)
                self._label = event.label
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

    def _write_running(self, label: str) -> None:
        state = {"pid": os.getpid(), "host": socket.gethostname(), "label": label}
        with suppress(OSError):
            self._running.write_text(json.dumps(state))

    def _remove_running(self) -> None:
        """Remove ``running.json`` unless another run in the same folder wrote it."""
        with suppress(OSError):
            try:
                state = read_json(self._running)
                ours = (state["pid"], state["host"]) == (os.getpid(), socket.gethostname())
            except (ValueError, KeyError, TypeError):
                ours = True  # Ctrl-C may have come while it was being written
            if ours:
                self._running.unlink(missing_ok=True)
