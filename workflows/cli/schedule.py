"""`mgsurf schedule`: a shell script by which the host repeats `mgsurf refresh`, with cron, systemd or Slurm.

Nothing of the host is changed here: the script is printed, and its first lines are the commands that run it
and remove what it installs. An entry's name is made of store and campaign, so that the script replaces it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from stores.errors import InputError
from stores.secrets import masked
from workflows.cli.options import RefreshArgument, StoreOption
from workflows.cli.typer_app import LOOP, app

_MINUTES = {"m": 1, "min": 1, "h": 60, "d": 1440, "w": 10080}
_UNITS = '"${XDG_CONFIG_HOME:-$HOME/.config}"/systemd/user'
_PASSED_ON = ("MGSURF_CONFIG", "MGSURF_WORK_DIR", "MGSURF_CACHE", "OMP_NUM_THREADS")
"""Variables of this shell that the command needs there, too."""


Scheduler = Literal["cron", "systemd", "slurm"]  # program that repeats a command


class Entry(NamedTuple):
    """A repeated command: its folder, log, interval (minutes), environment and options of Slurm."""

    name: str
    command: list[str]
    folder: Path
    log: Path
    minutes: int
    environment: dict[str, str]
    slurm: list[str]

    @property
    def shell(self) -> str:
        """As one line for a shell."""
        words = [f"{key}={shlex.quote(value)}" for key, value in sorted(self.environment.items())]
        words.append(shlex.join(self.command))
        return f"cd {shlex.quote(str(self.folder))} && {' '.join(words)} >> {shlex.quote(str(self.log))} 2>&1"


@app.command(rich_help_panel=LOOP)
def schedule(
    campaign: RefreshArgument = None,
    every: Annotated[
        str, typer.Option(metavar="TIME", help="Interval between starts: 30min, 6h, 1d.")
    ] = "6h",
    printed: Annotated[bool, typer.Option("--print", hidden=True)] = False,
    install: Annotated[bool, typer.Option("--install", hidden=True)] = False,
    remove: Annotated[bool, typer.Option("--remove", hidden=True)] = False,
    scheduler: Annotated[
        Scheduler | None,
        typer.Option(
            "--with",
            help="Scheduler; default: the first of slurm, systemd and cron that the host has.",
            show_default=False,
        ),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OPTION", help="Option of the Slurm job (may be repeated): --slurm=--time=4:00:00."
        ),
    ] = None,
    store: StoreOption = None,
) -> int:
    """Print a shell script by which this host repeats mgsurf refresh: with cron, a systemd timer or Slurm.

    Its first lines are the commands that install it and remove it.

    Examples: [cyan]mgsurf schedule --every 6h[/cyan],
    [cyan]mgsurf schedule campaign.yaml --every 1d --with cron | sh[/cyan]
    """
    scheduler = scheduler or _scheduler_of_host()
    entry = _entry(campaign, minutes_in(every), slurm or [], store)
    text, removal = {"cron": _cron, "systemd": _systemd, "slurm": _slurm}[scheduler](entry)
    given = [str(campaign)] if campaign else []
    given += ["--every", every.strip(), "--with", scheduler, *(f"--slurm={option}" for option in entry.slurm)]
    given += ["--store", store] if store else []
    installation = f"{shlex.join([*_program(), 'schedule', *given])} | sh"
    if install or remove:  # options of earlier versions, which changed the host
        option, command = ("--install", installation) if install else ("--remove", removal)
        raise InputError(f"{option}: mgsurf does not change {scheduler} itself; type: {command}")
    folder = shlex.quote(str(entry.log.parent))
    print(f"# install:  {installation}\n# remove:   {removal}\nset -e\nmkdir -p {folder}\n{text}", end="")
    return 0


def minutes_in(text: str) -> int:
    """Read an interval such as 30min, 6h, 1d or 2w; InputError unless between 5 minutes and 4 weeks."""
    found = re.fullmatch(r"(\d{1,5})\s*(min|m|h|d|w)", text.strip())
    minutes = int(found[1]) * _MINUTES[found[2]] if found else 0
    if not 5 <= minutes <= 40320:
        raise InputError(f"--every {text}: give a time between 5min and 4w, such as 30min, 6h, 1d or 1w")
    return minutes


def cron_times(minutes: int, name: str) -> str:
    """Return a crontab's five fields, the minute by the name; InputError if they cannot hold the interval."""
    from stores.records import content_hash

    minute, hours = int(content_hash(name, 6), 16) % 60, minutes // 60
    if minutes < 60 and 60 % minutes == 0:
        return f"{minute % minutes}-59/{minutes} * * * *"
    if minutes % 60 == 0 and hours < 24 and 24 % hours == 0:
        return f"{minute} {'*' if hours == 1 else f'*/{hours}'} * * *"
    if minutes in (1440, 10080):
        return f"{minute} 3 * * {'*' if minutes == 1440 else 0}"
    raise InputError(
        f"--every {minutes}min: no crontab line has this interval; take 5, 6, 10, 12, 15, 20 or 30min, 1, 2, "
        "3, 4, 6, 8 or 12h, 1d or 1w, or --with systemd"
    )


def _cron(entry: Entry) -> tuple[str, str]:
    """Return what puts an entry at the end of the crontab (an unreadable one is left), and its removal."""
    without = f"sed '/^# >>> {entry.name}$/,+2d'"
    script = f"""\
old=$(LC_ALL=C crontab -l 2>&1) || case $old in *"no crontab"*) old= ;; *) echo "$old" >&2; exit 1 ;; esac
{{ [ -z "$old" ] || printf '%s\\n' "$old" | {without}; cat; }} << 'END' | crontab -
# >>> {entry.name}
{cron_times(entry.minutes, entry.name)} {entry.shell}
# <<< {entry.name}
END
"""
    return script, f"old=$(crontab -l) && printf '%s\\n' \"$old\" | {without} | crontab -"


def _systemd(entry: Entry) -> tuple[str, str]:
    """Return what writes service and timer, see systemd.service(5), .exec(5) and .timer(5); their removal."""
    # variables are put into arguments, but into neither the program's path nor Environment=
    arguments = [_quoted(entry.command[0]), *(_quoted(w).replace("$", "$$") for w in entry.command[1:])]
    settings = "".join(f"Environment={_quoted(f'{k}={v}')}\n" for k, v in sorted(entry.environment.items()))
    script = f"""\
mkdir -p {_UNITS}
cat > {_UNITS}/{entry.name}.service << 'END'
[Unit]
Description=mgsurf refresh

[Service]
Type=oneshot
WorkingDirectory={entry.folder}
{settings}ExecStart={" ".join(arguments)}
StandardOutput=append:{entry.log}
StandardError=append:{entry.log}
END
cat > {_UNITS}/{entry.name}.timer << 'END'
[Unit]
Description=mgsurf refresh

[Timer]
OnActiveSec=1min
OnUnitActiveSec={entry.minutes}min

[Install]
WantedBy=timers.target
END
systemctl --user daemon-reload
systemctl --user enable {entry.name}.timer
systemctl --user restart {entry.name}.timer
"""
    return script, f"systemctl --user disable --now {entry.name}.timer; rm {_UNITS}/{entry.name}.*"


def _slurm(entry: Entry) -> tuple[str, str]:
    """Return what submits a job that first submits itself for later, and its removal.

    The successor is submitted before the work, so that no failure of the work breaks the chain, and waits for
    this job to end (``singleton``). Removing the file ends the chain in any case.
    """
    job = shlex.quote(str(entry.log.parent / f"{entry.name}.sh"))
    cancel = f'scancel --user="$(id -un)" --name={entry.name}'
    options = "".join(f"#SBATCH {option}\n" for option in entry.slurm)
    script = f"""\
cat > {job} << 'END'
#!/bin/bash
#SBATCH --job-name={entry.name}
#SBATCH --output={shlex.quote(str(entry.log))}
#SBATCH --open-mode=append
{options}#SBATCH --dependency=singleton
[ -e {job} ] || exit 0
sbatch --begin=now+{entry.minutes}minutes {job}
{entry.shell}
END
{cancel}
sbatch {job}
"""
    return script, f"rm {job}; {cancel}"


def _quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _scheduler_of_host() -> Scheduler:
    user_manager = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}", "systemd").is_dir()
    programs: dict[Scheduler, str] = {"slurm": "sbatch", "systemd": "systemctl", "cron": "crontab"}
    for name, program in programs.items():
        if shutil.which(program) and (user_manager or name != "systemd"):
            return name
    raise InputError(
        "this host has no cron, systemd user timers or Slurm that this user may use; let something else call "
        "mgsurf refresh, which is safe at any time, or choose one --with cron"
    )


def _entry(campaign: Path | None, minutes: int, slurm: list[str], store: str | None) -> Entry:
    from stores.connections import parse_uri, resolve_store_uri
    from stores.records import content_hash
    from stores.settings_file import resolve_work_dir

    command = [*_program(), "refresh", "--quiet"]
    work_dir = campaign_store = None
    if campaign is not None:
        from workflows.flows.campaign.file import load_campaign

        loaded = load_campaign(campaign)  # a mistake shows now, not at night
        work_dir, campaign_store = loaded.work_dir, loaded.store
        command.append(str(campaign.absolute()))
    given = store or os.environ.get("MGSURF_STORE")
    if given:
        uri = resolve_store_uri(given)
        if masked(uri) != uri:
            raise InputError(
                f"{masked(uri)}: the schedule would show its password; put it into the campaign file or into "
                "~/.config/mgsurf.yaml as `store:`"
            )
        if parse_uri(uri).kind == "memory":
            raise InputError(f"{uri}: is gone when this process ends; name a store that stays")
        command += ["--store", uri]
    environment = {name: os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
    log = resolve_work_dir(campaign=work_dir) / "refresh.log"
    for text in (*command, str(Path.cwd()), str(log), *environment.values(), *slurm):
        if re.search(r"[\x00-\x1f\x7f%]", text):
            raise InputError(
                f"{text!r} holds a % or a control character, which crontabs and units do not keep; rename it"
            )
    for text in (*command, *environment.values(), *slurm):
        if masked(text) != text:
            raise InputError(
                f"{masked(text)}: the schedule would show this secret; let the program read it from a file"
            )
    for option in slurm:
        if not re.fullmatch(r"--?[a-z].*", option):
            raise InputError(f"--slurm {option}: is no option of Slurm; write it as --slurm=--time=4:00:00")
    of = [masked(resolve_store_uri(store, campaign_store)), *([str(campaign.resolve())] if campaign else [])]
    return Entry(
        f"mgsurf-refresh-{content_hash(of, 8)}", command, Path.cwd(), log, minutes, environment, slurm
    )


def _program() -> list[str]:
    """Return how this very mgsurf is called from anywhere."""
    script = Path(sys.executable).parent / "mgsurf"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "workflows.cli.app"]
