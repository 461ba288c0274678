"""Commands run in forked children under limits of time and memory, many in one child after another."""

from __future__ import annotations

import io
import json
import os
import resource
import select
import shutil
import signal
import tempfile
import time
from collections import deque
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Prepare = Callable[[Path], list[str]]
    """Writes what a command reads into an empty folder; returns the command's arguments."""

SECONDS = 20.0
MEMORY = 1 << 30
"""Bytes beyond those of the parent process."""

BATCH = 100
INTERNAL = 70


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes
    ----------
    number
        Of the command in the list that was run.
    code
        Exit status; negative: the signal that ended the child; None: it took too long.
    seconds
        Wall time (s).
    output
        Its standard output and error output, shortened.
    arguments
        Of the command.
    """

    number: int
    code: int | None
    seconds: float
    output: str
    arguments: tuple[str, ...] = ()

    @property
    def fault(self) -> str:
        """What is wrong with it; empty if nothing is."""
        if self.code is None:
            return f"not finished after {self.seconds:.0f} s"
        if self.code < 0:
            return f"ended by signal {-self.code}"
        if self.code == INTERNAL:
            return "exit status 70"
        if "Traceback" in self.output:
            return "a traceback"
        return f"{self.seconds:.0f} s" if self.seconds > SECONDS else ""


@cache
def _command() -> Any:
    """Return the command line as click has it, which typer makes again for each call otherwise."""
    from typer.main import get_command

    from workflows.cli.app import app

    return get_command(app)


def run_here(arguments: Sequence[str]) -> tuple[int, str, str]:
    """Run a command in this process; return exit status, output and error output."""
    from workflows.cli.app import ending

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            result = _command().main([*arguments], standalone_mode=False, prog_name="mgsurf")
            code = result if isinstance(result, int) else 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException as error:  # noqa: BLE001 -- as the command line
            lines, code = ending(error)
            err.write("\n".join(f"mgsurf: {line}" for line in lines))
    return code, out.getvalue(), err.getvalue()


def run_all(
    prepare: Sequence[Prepare], workers: int = 2, seconds: float = SECONDS, memory: int = MEMORY
) -> Iterator[Outcome]:
    """Run commands in forked children; one that hangs or dies costs only itself.

    Parameters
    ----------
    prepare
        One for each command.
    workers
        Children at a time.
    seconds, memory
        Limits of one command (s, bytes).
    """
    waiting = deque(range(start, min(start + BATCH, len(prepare))) for start in range(0, len(prepare), BATCH))
    children: list[_Child] = []
    try:
        while waiting or children:
            while waiting and len(children) < workers:
                children.append(_Child(prepare, waiting.popleft(), memory))
            ready, _, _ = select.select([child.pipe for child in children], [], [], 0.25)
            for child in list(children):
                if child.pipe in ready:
                    yield from child.read()
                late = time.monotonic() - child.started > seconds
                if late or child.ended:
                    children.remove(child)
                    if (outcome := child.close(late)) is not None:
                        yield outcome
                    if child.left:
                        waiting.appendleft(child.left)
    finally:
        for child in children:
            child.close(True)


class _Child:
    """A process that runs a range of commands and writes a line of JSON before and after each."""

    def __init__(self, prepare: Sequence[Prepare], numbers: range, memory: int) -> None:
        self.left = numbers
        self.ended = False
        self.started = time.monotonic()
        self._arguments: tuple[str, ...] = ()
        self._rest = b""
        self._folder = Path(tempfile.mkdtemp(prefix="mgsurf-limits-"))
        self.pipe, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            with suppress(BaseException):
                os.setpgid(0, 0)
                os.close(self.pipe)
                _work(prepare, numbers, memory, writer, self._folder)
            os._exit(0)
        os.close(writer)

    def read(self) -> Iterator[Outcome]:
        data = os.read(self.pipe, 1 << 20)
        self.ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message: dict[str, Any] = json.loads(line)
            self.started = time.monotonic()
            if "arguments" in message:
                self._arguments = tuple(message["arguments"])
            else:
                self.left = self.left[1:]
                yield Outcome(**message, arguments=self._arguments)

    def close(self, kill: bool) -> Outcome | None:
        """End the process; return the outcome of a command that it was at, and did not finish."""
        if kill:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        os.close(self.pipe)
        shutil.rmtree(self._folder, ignore_errors=True)
        if not self.left:
            return None
        number, self.left = self.left[0], self.left[1:]
        code = None if kill else -os.WTERMSIG(status) if os.WIFSIGNALED(status) else -1
        return Outcome(number, code, time.monotonic() - self.started, "", self._arguments)


def _work(prepare: Sequence[Prepare], numbers: range, memory: int, writer: int, folder: Path) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory,) * 2)
    # the logs of internal errors, too
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    for number in numbers:
        place = folder / str(number)
        place.mkdir()
        os.chdir(place)
        arguments = prepare[number](place)
        _tell(writer, {"arguments": [ascii(word)[1:-1] for word in arguments]})
        start = time.monotonic()
        code, out, err = run_here(arguments)
        for log in folder.glob("mgsurf-error-*.log"):  # where an internal error happened
            err += log.read_text(encoding="utf-8", errors="replace")[-1500:]
            log.unlink()
        _tell(
            writer,
            {
                "number": number,
                "code": code,
                "seconds": time.monotonic() - start,
                "output": (out[-1000:] + err[-2000:]),
            },
        )
        shutil.rmtree(place, ignore_errors=True)


def _tell(writer: int, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(writer, data) :]
