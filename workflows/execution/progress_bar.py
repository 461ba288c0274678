"""How far a long command is: the one progress bar of all commands."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from stores.errors import duration

if TYPE_CHECKING:
    from rich.console import Console

INTERVAL = 3.0  # seconds before the first line, and at least between two, where there is no terminal

LINES_GROW = 20
"""Lines are at least 1/20 of the time so far apart, so that a job of hours leaves some hundred lines."""

_FRAME = 0.05  # s; a terminal is not drawn more often


class ProgressBar:
    """Shows on stderr how far each stage of a command is; use it as a context manager.

    On a terminal a bar for each stage, which disappears at the end. In a pipe or a file a line after
    `INTERVAL` seconds and then every few seconds, and one at the end of a stage that had any; a command that
    is done sooner prints none.

    Parameters
    ----------
    quiet
        Show nothing.
    console
        Where the bar is drawn; stderr if None.
    lines
        Whether there are lines where there is no terminal.
    """

    def __init__(self, quiet: bool = False, *, console: Console | None = None, lines: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = console or Console(stderr=True)
        self._drawn = not quiet and console.is_terminal
        self._lines = lines and not quiet and not console.is_terminal
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[count]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
            transient=True,
            disable=not self._drawn,
        )
        self._tasks: dict[str, Any] = {}
        self._began: dict[str, float] = {}
        self._first: dict[str, tuple[float, float]] = {}
        self._latest: dict[str, str] = {}
        self._shown: set[str] = set()
        self._start = self._last = monotonic()

    def __enter__(self) -> Self:
        """Start the bar."""
        self._progress.start()
        _OPEN.append(self)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Remove the bar, and close the stages that had a line."""
        self._progress.stop()
        _OPEN.remove(self)
        if error is None:
            for stage in self._latest:
                self._close(stage)

    def show(
        self,
        stage: str,
        done: float = 0,
        total: float | None = None,
        detail: str = "",
        *,
        count: str | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Show how far a stage is; cheap enough for every step of a loop.

        Parameters
        ----------
        stage
            What is being done. Each stage has a bar of its own.
        done, total
            How much is done of how much; None if the whole is not known.
        detail
            What it is at, such as a folder or a loss.
        count
            Progress as text; ``done/total`` if None.
        seconds_left
            Estimate of the time left (s); from the pace of the stage so far if None.
        """
        if not (self._drawn or self._lines):
            return
        now = monotonic()
        new, finished = stage not in self._began, total is not None and done >= total
        self._began.setdefault(stage, now)
        if done:  # before the first step much may have been read: the pace counts from there
            self._first.setdefault(stage, (now, done))
        if count is None:
            count = f"{done:.0f}/{total:.0f}" if total else f"{done:.0f}" if done else ""
        self._latest[stage] = count
        pause = _FRAME if self._drawn else max(INTERVAL, (now - self._start) / LINES_GROW)
        if now - self._last < pause and not (self._drawn and (new or finished)):
            if finished:
                self._close(stage)
            return
        self._last = now
        if seconds_left is None and total:
            began, before = self._first.get(stage, (now, 0))
            seconds_left = (now - began) * (total - done) / (done - before) if done > before else None
        left = "" if finished or not seconds_left else f"about {duration(seconds_left)} left"
        if self._drawn:
            self._draw(stage, done, total, {"count": count, "left": left, "detail": detail})
        elif finished:
            self._close(stage)
        else:
            self._shown.add(stage)
            _print_line(stage, count, left, detail)

    def _draw(self, stage: str, done: float, total: float | None, fields: dict[str, Any]) -> None:
        if stage not in self._tasks:
            for task in self._progress.tasks:  # a stage of unknown length ends where the next one begins
                self._progress.update(task.id, visible=task.total is not None)
            self._tasks[stage] = self._progress.add_task(stage, total=None, **fields)
        self._progress.update(self._tasks[stage], completed=done, total=total, visible=True, **fields)

    def _close(self, stage: str) -> None:
        """Print the last line of a stage that had lines."""
        if stage in self._shown:
            self._shown.remove(stage)
            _print_line(stage, self._latest[stage], f"after {duration(monotonic() - self._began[stage])}")


_OPEN: list[ProgressBar] = []


def show_in_open_bar(stage: str, done: float, total: float) -> None:
    """Show a stage in the bar of the command, if it has started one: for what has no bar passed to it."""
    if _OPEN:
        _OPEN[-1].show(stage, done, total)


def _print_line(*parts: str) -> None:
    print("mgsurf: " + ", ".join(part for part in parts if part), file=sys.stderr, flush=True)
