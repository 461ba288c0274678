"""Start the worker of a potential, send it tasks, and end it with this process."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from stores.errors import EngineError
from stores.files import write_file
from workflows.engines.gpaw.process import ONE_THREAD
from workflows.engines.worker_tasks import finished_answer

WORKER = Path(__file__).with_name("worker.py")
SECONDS_TO_END = 5.0
_LINE = 300  # characters of a message that are shown


class Worker:
    """A process that has loaded one potential; started with its first task, and again after a crash."""

    def __init__(self, preset: str) -> None:
        self.preset = preset
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 -- open as long as this

    def run(self, directory: Path, task: dict[str, Any]) -> dict[str, Any]:
        """Run a task in its own folder and return the worker's answer, an earlier one if there is one.

        The ``status`` of a crash is ``failed`` with a one-line ``reason``; EngineError if the process cannot
        be started.
        """
        answer = finished_answer(directory, task["task_hash"])
        if answer is not None and answer["status"] == "ok":
            return answer
        (directory / "output.json").unlink(missing_ok=True)
        write_file(directory / "input.json", json.dumps(task), alone=True)
        with self._lock:
            problem = self._ask(directory)
        return finished_answer(directory, task["task_hash"]) or {
            "status": "failed",
            "reason": f"mlip: the process of {self.preset} ended: {problem}",
        }

    def _ask(self, directory: Path) -> str:
        """Have the worker compute a folder; return what it last wrote if it ended instead."""
        process = self._running()
        assert process.stdin is not None and process.stdout is not None  # both are pipes
        try:
            process.stdin.write(json.dumps(str(directory.absolute())) + "\n")
            process.stdin.flush()
            if process.stdout.readline():
                return ""
            process.wait()
        except BrokenPipeError:
            process.wait()
        except BaseException:
            # KeyboardInterrupt and SystemExit too: what is not finished is computed again by the next run
            self.end()
            raise
        self._process = None
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return (lines[-1] if lines else f"status {process.returncode}")[:_LINE]

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._log.seek(0)
            self._log.truncate()
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", str(WORKER), self.preset],
                    env={**os.environ, **ONE_THREAD},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._log,
                    text=True,
                    start_new_session=True,
                )
            except OSError as error:
                raise EngineError(f"mlip: cannot start {sys.executable}: {error.strerror}") from error
        return self._process

    def end(self) -> None:
        """End the process; one of a parent from which this process was forked is left alone."""
        process, self._process = self._process, None
        if process is None or os.getpid() != self._owner:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)
            return
        process.kill()


_WORKERS: dict[tuple[int, str], Worker] = {}


def worker_of(preset: str) -> Worker:
    """Return this process's worker of a potential; it ends with the process."""
    key = os.getpid(), preset
    if key not in _WORKERS:
        _WORKERS[key] = Worker(preset)
        atexit.register(_WORKERS[key].end)
    return _WORKERS[key]
