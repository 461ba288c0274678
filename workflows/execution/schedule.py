"""A command that the host repeats by itself: with cron, a systemd timer or Slurm, whichever there is.

Each way is a small class: what it would write (`text`), whether the host has it (`there`), `install` and
`remove`. Entries are told apart by a name made of what they are of, so that installing one again replaces it,
from whatever shell, and nothing else is ever touched.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from stores.errors import InputError
from stores.method import content_hash

_SPAN = re.compile(r"(\d{1,5})\s*(min|m|h|d|w)")
_MINUTES = {"m": 1, "min": 1, "h": 60, "d": 1440, "w": 10080}
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Entry:
    """What is repeated.

    Attributes
    ----------
    command
        With its arguments; the program by its absolute path.
    folder
        Where it runs.
    log
        File that its output is added to.
    minutes
        From one start to the next.
    environment
        Variables that it needs.
    slurm
        Options of Slurm jobs: --partition=long, --time=4:00:00.
    of
        What is refreshed, store and campaign: the name comes of it. Empty: of command, folder and
        environment, as in older versions.
    """

    command: tuple[str, ...]
    folder: Path
    log: Path
    minutes: int
    environment: dict[str, str] = field(default_factory=dict)
    slurm: tuple[str, ...] = ()
    of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what some table of the host would read differently."""
        texts = (*self.command, str(self.folder), str(self.log), *self.environment.values(), *self.slurm)
        for text in texts:
            if re.search(r"[\x00-\x1f\x7f%]", text):
                raise InputError(
                    f"{text!r} holds a % or a control character, which crontabs and units read differently; "
                    "rename it"
                )

        for option in self.slurm:
            if not re.fullmatch(r"--?[a-z].*", option):
                raise InputError(
                    f"--slurm {option}: is no option of Slurm; write it as --slurm=--time=4:00:00"
                )

    @property
    def name(self) -> str:
        """The same for the same store and campaign, however often and from wherever it is to run."""
        what: list[Any] = list(self.of) or [list(self.command), str(self.folder), self.environment]
        return f"mgsurf-refresh-{content_hash(what, 8)}"

    def named_before(self) -> Entry:
        """Return the entry under the name that it had in older versions."""
        return replace(self, of=())

    @property
    def shell(self) -> str:
        """As one line for a shell."""
        words = [f"{key}={shlex.quote(value)}" for key, value in sorted(self.environment.items())]
        words += [shlex.quote(word) for word in self.command]
        return f"cd {shlex.quote(str(self.folder))} && {' '.join(words)} >> {shlex.quote(str(self.log))} 2>&1"


class Way(Protocol):
    """How a host repeats commands."""

    name: str

    def there(self) -> bool:
        """Say whether the host has it."""
        ...

    def text(self, entry: Entry) -> str:
        """Return what would be installed."""
        ...

    def install(self, entry: Entry) -> str:
        """Install or replace an entry; return what to know about it, in words."""
        ...

    def remove(self, entry: Entry) -> bool:
        """Take an entry out again; False if there was none."""
        ...


def minutes_in(text: str) -> int:
    """Read an interval such as 30min, 6h, 1d or 2w.

    Raises
    ------
    InputError
        If it is none, or not between 5 minutes and 4 weeks.
    """
    found = _SPAN.fullmatch(text.strip())
    minutes = int(found[1]) * _MINUTES[found[2]] if found else 0
    if not 5 <= minutes <= 40320:
        raise InputError(f"--every {text}: give a time between 5min and 4w, such as 30min, 6h, 1d or 1w")
    return minutes


def every(minutes: int) -> str:
    """Write an interval as people do: 30min, 6h, 1d."""
    for unit, size in (("w", 10080), ("d", 1440), ("h", 60)):
        if minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}min"


def cron_times(minutes: int, name: str) -> str:
    """Return the five fields of a crontab for an interval; the minute comes from the name.

    Raises
    ------
    InputError
        If a crontab cannot say it.
    """
    minute = int(content_hash(name, 6), 16) % 60
    if minutes < 60 and 60 % minutes == 0:
        return f"{minute % minutes}-59/{minutes} * * * *"
    if minutes % 60 == 0 and minutes < 1440 and 24 % (minutes // 60) == 0:
        hours = minutes // 60
        return f"{minute} {'*' if hours == 1 else f'*/{hours}'} * * *"
    if minutes == 1440:
        return f"{minute} 3 * * *"
    if minutes == 10080:
        return f"{minute} 3 * * 0"
    raise InputError(
        f"--every {every(minutes)}: a crontab cannot say this; take 5, 6, 10, 12, 15, 20 or 30min, 1, 2, 3, "
        "4, 6, 8 or 12h, 1d or 1w, or --with systemd"
    )


def call(*command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of the host.

    Raises
    ------
    InputError
        If it cannot be started or does not answer.
    """
    try:
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{command[0]} cannot be used here ({error}); choose another with --with") from error


def must(*command: str) -> str:
    """Run a program that must succeed; return what it printed.

    Raises
    ------
    InputError
        With its own words if it failed.
    """
    done = call(*command)
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split()) or f"exit status {done.returncode}"
        raise InputError(f"{' '.join(command[:3])}: {words}; nothing else was changed")
    return done.stdout


def has(program: str) -> bool:
    """Say whether a program is on the PATH."""
    return shutil.which(program) is not None


def ways() -> dict[str, Way]:
    """Return all ways by name, the one to prefer first."""
    from workflows.execution.schedule_cron import Cron, Scrontab
    from workflows.execution.schedule_slurm import SelfSubmitting
    from workflows.execution.schedule_systemd import SystemdTimer

    found: list[Way] = [Scrontab(), SelfSubmitting(), SystemdTimer(), Cron()]
    return {way.name: way for way in found}


def choose_way(wanted: str | None) -> Way:
    """Return the way that was asked for, else the first that the host has.

    Parameters
    ----------
    wanted
        cron, systemd or slurm (scrontab, else a job that submits itself again); None: any.

    Raises
    ------
    InputError
        If the host has none of them.
    """
    known = ways()
    groups = {"slurm": ("scrontab", "sbatch"), "systemd": ("systemd",), "cron": ("cron",)}
    names = groups[wanted] if wanted else tuple(known)
    for name in names:
        if known[name].there():
            return known[name]
    what = wanted if wanted else "cron, systemd user timers or Slurm"
    raise InputError(
        f"this host has no {what} that this user may use; let something else call mgsurf refresh, which is "
        "safe at any time"
    )
