"""HTTP requests repeated after temporary faults: pauses, Retry-After, 5xx, answers that break off."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_CONNECT = 10.0  # s
_LONGEST_PAUSE = 30.0  # s; of our own choosing
_LONGEST_WAIT = 120.0  # s; a server that demands more is given up
_TIME_LIMIT = 1800.0  # s; for all pages of one server
_LONGEST_ANSWER = 256 * 2**20  # bytes; a page of 500 large structures has 5 MB


class NoAnswerError(Exception):
    """A server that gave no usable answer; the text is the reason, in a few words."""


class RefusedError(NoAnswerError):
    """A request that the server will never answer."""


class FailedError(NoAnswerError):
    """A request that was answered with status 5xx each time."""


class StoppedError(Exception):
    """Interrupted by the user."""


class _TryAgainError(NoAnswerError):
    def __init__(self, text: str, pause: float = 0.0, status: int = 0) -> None:
        super().__init__(text)
        self.pause = pause
        self.status = status


@dataclass
class Patience:
    """Limits of time and attempts."""

    timeout: float  # for one complete answer (s), however slowly it drips
    attempts: int  # at one page
    backoff: float  # first pause (s); each further one is twice as long
    stop: threading.Event  # ends all requests and pauses when it is set


class PatientSession(requests.Session):
    """A session whose `get` returns a complete answer of JSON or raises `NoAnswerError`.

    After temporary faults (no connection, a time-out, an answer that breaks off or is no JSON, status 429 or
    5xx) it tries again, with growing pauses or the time the server names in Retry-After.
    """

    patience: ClassVar[Patience]
    delay: ClassVar[float] = 0.0  # s between requests, as the server demands
    trouble: ClassVar[Exception | None] = None  # the last one raised
    begun: ClassVar[float]

    @classmethod
    def with_patience(cls, patience: Patience) -> type[PatientSession]:
        """Return a class of sessions for one server; a class, because that is what the client takes."""
        return type(cls.__name__, (cls,), {"patience": patience, "begun": time.monotonic()})

    def get(self, url: str | bytes, **_: Any) -> requests.Response:  # type: ignore[override]
        """Return the answer, its body read and its JSON parsed."""
        try:
            return self._get(str(url))
        except Exception as error:
            type(self).trouble = error
            raise

    def _get(self, url: str) -> requests.Response:
        patience = self.patience
        pause = self.delay
        for attempt in range(1, patience.attempts + 1):
            if patience.stop.wait(pause):
                raise StoppedError("stopped")
            if time.monotonic() - self.begun > _TIME_LIMIT:
                raise NoAnswerError(f"not ready after {_TIME_LIMIT / 60:.3g} min")
            try:
                return self._once(url)
            except _TryAgainError as error:
                if error.pause > _LONGEST_WAIT:
                    raise NoAnswerError(f"{error}, asks to wait {error.pause:.0f} s") from error
                if attempt == patience.attempts:
                    kind = FailedError if error.status >= 500 else NoAnswerError
                    raise kind(f"{error}, {attempt} times") from error
                own = min(patience.backoff * 2 ** (attempt - 1), _LONGEST_PAUSE)
                pause = max(error.pause, own * random.uniform(0.75, 1.25))  # not all clients at once
        raise AssertionError("unreachable")

    def _once(self, url: str) -> requests.Response:
        timeout = self.patience.timeout
        deadline = time.monotonic() + timeout
        try:
            response = super().get(url, timeout=(min(_CONNECT, timeout), timeout), stream=True)
            with closing(response):
                body = self._body(response, deadline)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise RefusedError("no web address") from error
        except requests.exceptions.SSLError as error:
            raise RefusedError("has no valid certificate") from error
        except requests.TooManyRedirects as error:
            raise RefusedError("sends the request round in circles") from error
        except (requests.Timeout, ReadTimeoutError, TimeoutError) as error:
            raise _TryAgainError(f"no answer within {timeout:g} s") from error
        except requests.ConnectionError as error:
            raise _TryAgainError("cannot be reached") from error
        except (requests.RequestException, HTTPError) as error:
            raise _TryAgainError("answer broke off") from error
        if response.status_code != 200:
            answer = f"answered {response.status_code} {response.reason or ''}".rstrip() + _detail(body)
            if response.status_code not in _AGAIN:
                raise RefusedError(answer)
            raise _TryAgainError(answer, _retry_after(response.headers), response.status_code)
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise _TryAgainError("answer is no JSON") from None
        if not isinstance(content, dict):
            raise _TryAgainError("answer is not OPTIMADE's")
        response._content = body
        response.json = lambda **_: content  # type: ignore[method-assign]
        return response

    def _body(self, response: requests.Response, deadline: float) -> bytes:
        parts, length = [], 0
        while part := response.raw.read1(65536, decode_content=True):
            parts.append(part)
            length += len(part)
            if self.patience.stop.is_set():
                raise StoppedError("stopped")
            if time.monotonic() > deadline:
                raise TimeoutError
            if length > _LONGEST_ANSWER:
                raise RefusedError(f"answer is longer than {_LONGEST_ANSWER // 2**20} MiB")
        return b"".join(parts)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds of a Retry-After header, which may be a date."""
    text = headers.get("Retry-After")
    try:
        return Retry().parse_retry_after(text) if text else 0.0
    except HTTPError:
        return 0.0


def _detail(body: bytes) -> str:
    """Return the error texts of a JSON:API answer, shortened."""
    try:
        errors = orjson.loads(body)["errors"]
        text = "; ".join(str(error.get("detail") or error.get("title") or "") for error in errors)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ""
    text = " ".join(text.split())
    return f" ({text[:160]})" if text else ""
