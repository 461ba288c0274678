"""Jobs of a project of jobflow-remote, asked for in a thread: its database may be slow or away."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from stores.errors import MgsurfError, one_line
from stores.secrets import masked

EVERY = 15.0
"""Least time (s) between two questions to the database."""

PATIENCE = 0.1
"""Longest time (s) that a page waits for an answer."""

MOST_CAMPAIGNS = 50
MOST_FAILED = 1000


class QueueWatch:
    """State of the jobs of a project, as it was last seen.

    Parameters
    ----------
    project
        Name; None for no project.
    """

    def __init__(self, project: str | None) -> None:
        self.project = project
        self._seen: dict[str, Any] | None = None
        self._asked = 0.0
        self._lock = threading.Lock()

    def latest(self) -> dict[str, Any] | None:
        """Return what was last seen: ``campaigns``, ``problem`` and ``seen_at``; None before that."""
        if self.project is None:
            return None
        if time.monotonic() - self._asked > EVERY or not self._asked:
            thread = threading.Thread(target=self._ask, daemon=True)
            thread.start()
            thread.join(PATIENCE)
        return self._seen

    def _ask(self) -> None:
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._asked = time.monotonic()
            self._seen = self._read()
        finally:
            self._lock.release()

    def _read(self) -> dict[str, Any]:
        before = (self._seen or {}).get("campaigns", [])
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            from workflows.execution.remote.project import open_project
            from workflows.execution.remote.status import state_of

            with open_project(self.project) as remote:
                names = remote.campaigns()[:MOST_CAMPAIGNS]
                states = [asdict(state_of(remote, name)) for name in names]
        except MgsurfError as error:
            return {"campaigns": before, "problem": masked(one_line(error)), "seen_at": moment}
        except Exception as error:  # noqa: BLE001 -- a page must not fail with its queue
            line = f"{type(error).__name__}: {masked(one_line(error))}"
            return {"campaigns": before, "problem": line, "seen_at": moment}
        for state in states:
            state["failed"] = state["failed"][:MOST_FAILED]
            state["calculations"] = state["calculations"][:MOST_FAILED]
        return {"campaigns": states, "problem": "", "seen_at": moment}
