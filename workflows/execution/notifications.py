"""Texts sent to a webhook or a command when a campaign ends, fails often, or a model is promoted.

A hook that fails is one warning line and never harms the run: each has `TIMEOUT` seconds, after which it is
left alone.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import tempfile
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from stores.errors import one_line, pluralize
from stores.secrets import masked, remember, remember_address
from workflows.jobs.progress import PROGRESS, Event, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from workflows.execution.listener import Tally
    from workflows.flows.campaign.notifications import Notify

TIMEOUT = 10.0
"""Longest time (s) that a hook may take."""

LONGEST = 3000
"""Characters of a text: Slack cuts longer ones."""

LEAST_PATH = 16
"""Length from which the path of an address is a secret by itself: a shorter one may be any folder's name."""

SHOWN = 5

logger = logging.getLogger(__name__)


class Notifier(logging.Handler):
    """Notifies of what is announced while a flow runs; use it as a context manager.

    Parameters
    ----------
    settings
        Section `notify` of the campaign file; None notifies nobody.
    campaign
        Its name, with which every text begins.
    """

    def __init__(self, settings: Notify | None, campaign: str) -> None:
        super().__init__(logging.INFO)
        self._settings, self._campaign = settings, campaign
        self._problems: set[tuple[str, str]] = set()
        address = settings.address() if settings else None
        if address:
            remember(address)  # whoever knows it can post
            if len(path := urlsplit(address).path) >= LEAST_PATH:
                remember(path)
            remember_address(address)

    def __enter__(self) -> Self:
        """Listen to announcements."""
        if self._settings is not None:
            PROGRESS.addHandler(self)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Stop listening; a run that broke off is reported, unless a person did that."""
        PROGRESS.removeHandler(self)
        if error is not None and isinstance(error, Exception):
            self._ended(f"stopped: {one_line(error)}")

    def emit(self, record: logging.LogRecord) -> None:
        """Count a problem, or send that a model was promoted."""
        from workflows.flows.refresh_check import DECISION

        event: Event | None = getattr(record, "mgsurf_event", None)
        if event is None or self._settings is None:
            return
        if event.stage is Stage.PROBLEM and (event.label, event.text) not in self._problems:
            self._problems.add((event.label, event.text))
            if len(self._problems) == self._settings.failures:
                last = f"{event.label}: {event.text}"
                self.send(
                    f"{pluralize(len(self._problems), 'calculation')} with problems so far, last {last}"
                )
        elif event.stage is Stage.NOTE and event.label == DECISION and " promoted: " in event.text:
            self.promoted(event.text)

    def promoted(self, text: str) -> None:
        """Send that a model was promoted, and why."""
        if self._settings is not None and self._settings.model_promoted:
            self.send(f"model {text}")

    def run_ended(self, tally: Tally) -> None:
        """Send how a run ended: what was computed and what went wrong."""
        surfaces = pluralize(len(set(tally.records)), "surface")
        computed = pluralize(len(tally.computed), "calculation")
        lines = [f"ended: {surfaces}; {computed} run, {len(tally.reused)} found in the store"]
        if tally.problems:
            lines.append(f"{pluralize(len(tally.problems), 'problem')}:")
            lines += [f"- {label}: {reason}" for label, reason in tally.problems[:SHOWN]]
            if len(tally.problems) > SHOWN:
                lines.append(f"- and {len(tally.problems) - SHOWN} more")
        self._ended("\n".join(lines))

    def queue_ended(self, text: str) -> None:
        """Send that every job of a campaign on a queue has ended."""
        self._ended(text)

    def _ended(self, text: str) -> None:
        if self._settings is not None and self._settings.campaign_ends:
            self.send(text)

    def send(self, text: str) -> None:
        """Send a text to webhook and command; what fails is a warning."""
        if self._settings is None:
            return
        message = masked(f"mgsurf, {self._campaign}: {text}")[:LONGEST]
        message = message.encode(errors="replace").decode()  # names of files may hold half a letter
        if self._settings.webhook is not None:
            address = self._settings.address()
            if address:
                _try("webhook", lambda: post(address, message))
            else:
                logger.warning(
                    "notify.webhook: nothing was sent, the variable %s holds no address such as "
                    "https://hooks.slack.com/...; set it",
                    self._settings.webhook,
                )
        if (command := self._settings.command) is not None:
            _try("command", lambda: run(command, message))


def _try(what: str, send: Callable[[], None]) -> None:
    """Call a hook with a limit of time; a warning if it fails."""
    problem: list[str] = [f"no answer within {TIMEOUT:g} s"]

    def work() -> None:
        try:
            send()
            problem.clear()
        except Exception as error:  # noqa: BLE001 -- whatever a hook does, the run continues
            problem[:] = [one_line(error) or type(error).__name__]

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    for line in list(problem):
        logger.warning(
            "notify.%s: not sent (%s); the run is not affected, correct the campaign file",
            what,
            masked(line)[:300],
        )


def post(address: str, text: str) -> None:
    """Post ``{"text": ...}`` as JSON; an error unless the answer is 2xx. Redirections are not followed."""
    import http.client
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class NoRedirect(HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    for letter, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(letter, entity)  # Slack reads <...> as links and mentions
    body = json.dumps({"text": text}).encode()
    request = Request(address, body, {"Content-Type": "application/json", "User-Agent": "mgsurf"})
    try:
        # `_try` waits less, so that a slow answer always reads the same
        with build_opener(NoRedirect).open(request, timeout=2 * TIMEOUT):
            pass
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {type(error).__name__}") from None


def run(command: list[str], text: str) -> None:
    """Give a text to a command on its standard input; an error with what it printed unless it ends well."""
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that what it started ends with it
        )
        try:
            process.communicate(f"{text}\n".encode(), timeout=0.9 * TIMEOUT)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise TimeoutError(f"{command[0]} took over {0.9 * TIMEOUT:g} s and was ended") from None
        if process.returncode:
            printed.seek(0)
            words = printed.read(1000).decode("utf-8", "replace")
            raise OSError(f"{command[0]} ended with status {process.returncode}: {one_line(words)}")
