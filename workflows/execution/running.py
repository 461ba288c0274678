"""What a run on this machine computes now: its ``running.json``, which `mgsurf status` and the pages read."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from stores.errors import duration
from stores.files import write_file
from stores.input_files import read_json

if TYPE_CHECKING:
    from pathlib import Path

FILE = "running.json"


@dataclass
class RunState:
    """State of a run; the counts are of calculations."""

    pid: int
    host: str
    label: str  # of the calculation that runs
    directory: str = ""  # its folder
    campaign: str = ""
    store: str = ""  # without its password
    planned: int = 0  # known so far, those done included
    done: int = 0  # computed, reused or not needed any more
    computed: int = 0
    reused: int = 0
    problems: int = 0
    seconds_left: float = 0.0  # estimated from the pace so far; 0 if not known
    cores: int = 0  # that a calculation may use; 0 if not known

    @property
    def words(self) -> str:
        """The calculation and its process, for people."""
        place = "" if self.host == socket.gethostname() else f"on {self.host}, "
        return f"{self.label} ({place}process {self.pid})"

    @property
    def progress(self) -> str:
        """How far the run is, for people; empty for a run that does not record it."""
        if not self.planned:
            return ""
        left = f", about {duration(self.seconds_left)} left" if self.seconds_left else ""
        return f"{self.done} of {self.planned} calculations{left}"

    def write(self, work_dir: Path) -> None:
        """Write it into the folder of the run; a full disk is reported elsewhere."""
        with suppress(OSError):
            write_file(work_dir / FILE, json.dumps(asdict(self)), durable=False)


def read_running(work_dir: Path) -> RunState | None:
    """Return the state of the run in a folder; None if nothing runs.

    A run on another machine cannot be checked and counts as running.
    """
    try:
        content = read_json(work_dir / FILE)
        kinds = {"int": int, "float": float, "str": str}
        known = {
            field.name: kinds[str(field.type)](content[field.name])
            for field in fields(RunState)
            if field.name in content
        }
        state = RunState(**known)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    return state if _lives(state) else None


def remove_running(work_dir: Path) -> None:
    """Remove the file of this process; that of another run in the same folder stays."""
    path = work_dir / FILE
    with suppress(OSError):
        try:
            state = read_json(path)
            ours = (state["pid"], state["host"]) == (os.getpid(), socket.gethostname())
        except (ValueError, KeyError, TypeError):
            ours = True  # Ctrl-C may have come while it was being written
        if ours:
            path.unlink(missing_ok=True)


def _lives(state: RunState) -> bool:
    if state.host != socket.gethostname():
        return True
    try:
        os.kill(state.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it lives, and belongs to another user
    return True
