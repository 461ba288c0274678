"""Regular expressions of filters, which may take a limited time only.

Python's matcher may take exponential time, and only a signal can end it, which reaches the main thread alone.
Other threads hand patterns that may take long to a small Python process, in whose main thread a timer ends
them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from stores.errors import InputError

if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from types import FrameType

REGEX_SECONDS = 1.0
"""Longest time (s, of the processor) that a regular expression may take for all documents of a query."""

_WORKER = """
import json, re, signal, sys
def stop(*_):
    raise TimeoutError
signal.signal(signal.SIGVTALRM, stop)
signal.signal(signal.SIGINT, signal.SIG_IGN)
text, flags, left = json.loads(sys.stdin.readline())
pattern = re.compile(text, flags)
for line in sys.stdin:
    value = json.loads(line)
    signal.setitimer(signal.ITIMER_VIRTUAL, max(left, 0.001))
    try:
        answer = "1" if pattern.search(value) else "0"
    except TimeoutError:
        answer = "-"
    left = signal.setitimer(signal.ITIMER_VIRTUAL, 0)[0]
    print(answer, flush=True)
"""
_REPEATS, _ALTERNATIVES = "*+?{", 8


def takes_long(pattern: re.Pattern[str]) -> bool:
    """Whether a pattern may take more than time in proportion to the text: it repeats or branches often."""
    return any(mark in pattern.pattern for mark in _REPEATS) or pattern.pattern.count("|") > _ALTERNATIVES


class RegexProcess:
    """A process that searches texts for a pattern, started with the first; it ends with this object.

    Parameters
    ----------
    pattern
        Compiled.
    seconds
        Processor time for all texts together.
    """

    def __init__(self, pattern: re.Pattern[str], seconds: float) -> None:
        self._first = json.dumps([pattern.pattern, pattern.flags, seconds])
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def search(self, text: str) -> bool:
        """Whether the pattern occurs in a text; TimeoutError if all texts took too long together.

        OSError if no process can be started.
        """
        with self._lock:
            process = self._process or self._start()
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps(text) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline().strip()
        if answer == "-":
            raise TimeoutError
        if answer not in ("0", "1"):
            raise OSError(f"the process of a regular expression ended with status {process.wait()}")
        return answer == "1"

    def _start(self) -> subprocess.Popen[str]:
        # isolated, without site-packages: it starts in 15 ms and imports nothing of the folder
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
            cwd=os.sep,
        )
        weakref.finalize(self, _end, self._process)
        assert self._process.stdin is not None
        self._process.stdin.write(self._first + "\n")
        return self._process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def search_test(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    """Return the test of a regular expression, which may take `REGEX_SECONDS` for all values together.

    Python looks for signals while it matches, so that a timer of processor time can end it. Signals reach
    the main thread only: other threads use that of another process where the pattern may take long.
    """
    left, long = REGEX_SECONDS, takes_long(pattern)
    apart: RegexProcess | None = None

    def too_slow() -> InputError:
        text = pattern.pattern if len(pattern.pattern) <= 60 else pattern.pattern[:60] + "..."
        return InputError(
            f"Filter operator $regex: {text!r} takes more than {REGEX_SECONDS:g} s; write a pattern without "
            f"repetitions inside repetitions."
        )

    def stop(number: int, frame: FrameType | None) -> None:
        raise too_slow()

    @lru_cache(maxsize=10_000)  # the documents of a store share formulas and campaigns
    def search_apart(value: str) -> bool:
        nonlocal apart
        apart = apart or RegexProcess(pattern, REGEX_SECONDS)
        try:
            return apart.search(value)
        except TimeoutError:
            raise too_slow() from None
        except OSError as error:
            raise InputError(
                f"Filter operator $regex: no process can be started to search with it ({error}); write a "
                "pattern without repetitions."
            ) from error

    def test(value: Any) -> bool:
        nonlocal left
        if not isinstance(value, str):
            return False
        if threading.current_thread() is not threading.main_thread():
            return search_apart(value) if long else pattern.search(value) is not None
        before = signal.signal(signal.SIGVTALRM, stop)
        signal.setitimer(signal.ITIMER_VIRTUAL, max(left, 0.001))
        try:
            return pattern.search(value) is not None
        finally:
            left, _ = signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)

    return test
