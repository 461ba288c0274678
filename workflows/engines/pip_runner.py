"""Run the commands of the set-up: one progress line each, their output in a log, failures in one line.

Standard library only: this runs before any dependency is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import EngineError, MgsurfError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

NETWORK_SIGNS = (
    "NewConnectionError",
    "NameResolutionError",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "Temporary failure resolving",
    "Name or service not known",
    "Could not resolve",
    "Network is unreachable",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
    "Cannot connect to proxy",
)
DISK_SIGNS = ("No space left on device", "Disk quota exceeded")
TAIL_LINES = 2


def explain(log_text: str, what: str, log: Path) -> str:
    """Say in one line why a logged command failed.

    Parameters
    ----------
    log_text
        What the command wrote.
    what
        What was being done, as in "Installing Python packages".
    log
        Where the whole output is.

    Returns
    -------
    str
        Cause, place and remedy.
    """
    if any(sign in log_text for sign in DISK_SIGNS):
        return (
            f"{what} failed: the disk is full. Free some space and type the same command again (log: {log})."
        )
    # pip names the network only in the warnings above its last line, which speaks of a missing version.
    if any(sign in log_text for sign in NETWORK_SIGNS):
        return (
            f"{what} failed: no connection to the package server. Check the network (or the proxy settings) "
            f"and type the same command again (log: {log})."
        )
    lines = [line.strip() for line in log_text.splitlines() if line.strip()]
    telling = [line for line in lines if line.lower().startswith(("error:", "e:", "fatal error"))] or lines
    return f"{what} failed: {' | '.join(telling[-TAIL_LINES:])[:400]} (whole log: {log})."


def run_logged(
    command: Sequence[str],
    what: str,
    log: Path,
    *,
    typical: str,
    environment: Mapping[str, str] | None = None,
    keep_open: Sequence[int] = (),
) -> None:
    """Run a command behind one progress line.

    Parameters
    ----------
    command
        Program and arguments.
    what
        What is being done, shown to the user.
    log
        File that takes the output.
    typical
        How long it usually takes, for example "41 s".
    environment
        Its whole environment; this process's own if not given.
    keep_open
        File descriptors the child inherits: a lock among them is held until the child ends, even if
        this process is killed.

    Raises
    ------
    EngineError
        If the program is missing or fails; the message is one line.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"{what} (typically {typical}) ...", end=" ", flush=True)
    began = time.monotonic()
    try:
        with log.open("w", encoding="utf-8") as output:
            answer = subprocess.run(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=None if environment is None else dict(environment),
                pass_fds=tuple(keep_open),
                check=False,
            )
    except OSError as error:
        print("failed", flush=True)
        raise EngineError(f"{what} failed: cannot start {command[0]}: {error}.") from error
    if answer.returncode != 0:
        print("failed", flush=True)
        raise EngineError(explain(log.read_text(encoding="utf-8", errors="replace"), what, log))
    print(f"done in {time.monotonic() - began:.0f} s", flush=True)


@contextlib.contextmanager
def environment_lock(venv: Path) -> Iterator[int]:
    """Hold the virtual environment alone; wait, saying so, while another set-up works in it.

    Parameters
    ----------
    venv
        The virtual environment's folder.

    Yields
    ------
    int
        The lock's file descriptor, for `run_logged`'s `keep_open`.
    """
    with (venv / ".setup.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another set-up is at work in {venv}; waiting for it ...", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()


def remove_half_installed(site_packages: Path) -> list[str]:
    """Take out what an interrupted pip left, so that pip installs it anew.

    pip moves a package's old files aside under a name with a leading tilde, copies the new ones, and
    writes INSTALLER and RECORD last. Whatever lacks one of these, or a file that its RECORD lists, is
    half a package which pip would take for a whole one.

    Parameters
    ----------
    site_packages
        Folder in which the packages lie.

    Returns
    -------
    list of str
        The packages removed.
    """
    removed = []
    for leftover in site_packages.glob("~*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
    for info in sorted(site_packages.glob("*.dist-info")):
        if is_whole(info):
            continue
        shutil.rmtree(info, ignore_errors=True)
        removed.append(info.name.removesuffix(".dist-info"))
    return removed


def is_whole(info: Path) -> bool:
    """Tell whether a package with this dist-info folder was installed to its end."""
    if not all((info / name).is_file() for name in ("METADATA", "INSTALLER", "RECORD")):
        return False
    files = importlib.metadata.Distribution.at(info).files or []
    # Compiled files come and go with PYTHONDONTWRITEBYTECODE.
    return all(Path(str(file.locate())).exists() for file in files if file.suffix != ".pyc")


def pip(*arguments: str) -> list[str]:
    """Return a pip command line of the running Python that never asks and never looks for a newer pip."""
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]


def one_line_errors(main: Callable[[], None]) -> int:
    """Run a set-up script's main function and return its exit status.

    Errors meant for the user are shown in one line; Ctrl-C says how to go on.
    """
    try:
        main()
    except MgsurfError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nInterrupted. Type the same command again to go on.", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"Error: the set-up cannot write in this folder: {error}", file=sys.stderr)
        return 1
    return 0


def clean_environment() -> dict[str, str]:
    """Return this process's environment without the settings that would send packages elsewhere."""
    unwanted = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def pinned_environment() -> dict[str, str]:
    """Return `clean_environment` with the pins of constraints.txt inside pip's build environments too.

    Older pips read the one name there, newer ones the other. The path is relative because pip splits
    these settings at blanks.
    """
    return clean_environment() | {
        "PIP_CONSTRAINT": "constraints.txt",
        "PIP_BUILD_CONSTRAINT": "constraints.txt",
    }
