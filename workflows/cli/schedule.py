"""`mgsurf schedule`: let the host call `mgsurf refresh` by itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stores.connections import parse_uri, resolve_store_uri
from stores.errors import InputError
from stores.mongo import masked
from stores.settings_file import resolve_work_dir
from workflows.execution.schedule import Entry, choose_way, every, minutes_in, ways

if TYPE_CHECKING:
    from workflows.execution.schedule import Way

_PASSED_ON = ("MGSURF_CONFIG", "MGSURF_WORK_DIR", "MGSURF_CACHE", "OMP_NUM_THREADS")
"""Variables of this shell that the command needs there, too."""


def schedule(
    campaign: Path | None,
    *,
    interval: str,
    way: str | None,
    show: bool,
    install: bool,
    remove: bool,
    slurm: list[str],
    store: str | None,
) -> int:
    """Print, install or remove the entry that repeats a refresh.

    Parameters
    ----------
    campaign
        Of the refresh.
    interval
        Such as 6h.
    way
        cron, systemd or slurm; None: whichever the host has.
    show, install, remove
        What to do; none of them prints.
    slurm
        Options of its jobs, where Slurm does it.
    store
        URI of the refresh.

    Returns
    -------
    int
        Exit status.
    """
    if show + install + remove > 1:
        raise InputError("--print, --install and --remove exclude each other; choose one")
    entry = _entry(campaign, minutes_in(interval), slurm, store)
    if remove:
        return _remove(entry, way)
    chosen = choose_way(way)
    if not install:
        print(chosen.text(entry), end="")
        print(
            f"mgsurf: nothing was changed; --install puts this into {_place(chosen)} of this host",
            file=sys.stderr,
        )
        return 0
    entry.log.parent.mkdir(parents=True, exist_ok=True)
    for other in ways().values():  # an entry of another kind, or of an older name, would run as well
        if other.name != chosen.name and other.there():
            other.remove(entry)
            other.remove(entry.named_before())
    chosen.remove(entry.named_before())
    hint = chosen.install(entry)
    print(f"every {every(entry.minutes)} with {_place(chosen)}: {entry.name}, output in {entry.log}")
    print(f"{hint}; mgsurf schedule --remove takes it out again")
    return 0


def _remove(entry: Entry, way: str | None) -> int:
    candidates = [choose_way(way)] if way else [one for one in ways().values() if one.there()]
    entries = (entry, entry.named_before())
    found = [_place(way) for way in candidates for one in entries if way.remove(one)]
    removed, of = list(dict.fromkeys(found)), " and ".join(entry.of)
    print(
        f"removed {entry.name} from {', '.join(removed)}"
        if removed
        else f"there is no {entry.name} here, of {of}; name the store and campaign it was installed with"
    )
    return 0


def _entry(campaign: Path | None, minutes: int, slurm: list[str], store: str | None) -> Entry:
    command = [*_program(), "refresh", "--quiet"]
    work_dir = campaign_store = None
    if campaign is not None:
        from workflows.flows.campaign_file import load_campaign

        loaded = load_campaign(campaign)  # a mistake is told now, not at night
        work_dir, campaign_store = loaded.work_dir, loaded.store
        command.append(str(campaign.absolute()))
    told = store or os.environ.get("MGSURF_STORE")
    if told:
        uri = resolve_store_uri(told)
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
    of = [masked(resolve_store_uri(store, campaign_store))]
    if campaign is not None:
        of.append(str(campaign.resolve()))
    return Entry(tuple(command), Path.cwd(), log, minutes, environment, tuple(slurm), tuple(of))


def _program() -> list[str]:
    """Return how this very mgsurf is called from anywhere."""
    script = Path(sys.executable).parent / "mgsurf"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "workflows.cli.app"]


def _place(way: Way) -> str:
    names = {"cron": "the crontab", "scrontab": "Slurm's crontab", "sbatch": "the Slurm queue"}
    return names.get(way.name, "systemd's user timers")
