"""Questions to the Materials Project through its own client, mp-api; what goes wrong is said in one line.

Structures and band gaps come from the summary endpoint, energies from the thermo endpoint, which keeps apart
what the summary mixes: one value for each thermo type. mp-api fetches whole collections from S3 when a search
has no condition; every search here has one, so all of them go to the REST API.
"""

from __future__ import annotations

import re
import warnings
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from stores.errors import InputError, install_command
from stores.secrets import masked, remember

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

KEYS_PAGE = "https://next-gen.materialsproject.org/api"
KEY_LENGTH = 32
SUMMARY_FIELDS = ("material_id", "structure", "band_gap", "symmetry", "deprecated")
THERMO_FIELDS = ("material_id", "thermo_type", "formation_energy_per_atom", "energy_above_hull")

_PAGE = 300  # documents; their identifiers fit into one URL
_READ_TIMEOUT = 60  # s
_RETRIES = 4
_LONGEST_WAIT = 60  # s, also where the server asks for more
_CONNECT_TIMEOUT = (10, 30)  # s, to connect and to read


class RequestFailedError(Exception):
    """A question that got no answer; the text says why.

    Attributes
    ----------
    hopeless
        True if the next question will fare no better: a refused key, a client that is too old.
    """

    def __init__(self, text: str, *, hopeless: bool = False) -> None:
        super().__init__(text)
        self.hopeless = hopeless


def find_key(given: str | None = None) -> str:
    """Return the API key: the one given, else ``MP_API_KEY``, else pymatgen's setting ``PMG_MAPI_KEY``.

    Raises
    ------
    InputError
        If there is none, or it is not a key of the present API; the key itself is never shown.
    """
    import os

    from pymatgen.core import SETTINGS

    for where, key in (
        ("api_key", given),
        ("MP_API_KEY", os.environ.get("MP_API_KEY")),
        ("PMG_MAPI_KEY", SETTINGS.get("PMG_MAPI_KEY")),
    ):
        if key and key.strip():
            key = str(key).strip()
            if len(key) != KEY_LENGTH or not key.isalnum():
                raise InputError(
                    f"Materials Project: the key in {where} is none of the present API, whose keys have "
                    f"{KEY_LENGTH} letters and digits: copy yours from {KEYS_PAGE}"
                )
            remember(key)
            return key
    raise InputError(
        f"Materials Project: no API key: get one (free) at {KEYS_PAGE} and set it with export MP_API_KEY=..."
    )


def check_installed() -> None:
    """Refuse to go on without mp-api.

    Raises
    ------
    InputError
        If the package is missing.
    """
    try:
        version("mp-api")
    except PackageNotFoundError:
        raise InputError(
            f"Materials Project: the package mp-api is missing: {install_command('materials-project')}"
        ) from None


class Client:
    """Connection to the API; made at the first question, since importing mp-api takes seconds.

    Parameters
    ----------
    key
        API key.
    endpoint
        Base URL; mp-api's default if None.
    backoff
        Wait before a second retry (s); it doubles with each further one.
    """

    def __init__(self, key: str, endpoint: str | None = None, *, backoff: float = 1.0) -> None:
        self.notices: list[str] = []
        self._key = key
        self._endpoint = endpoint
        self._backoff = backoff
        self._resters: tuple[Any, Any] | None = None

    def search(self, **conditions: Any) -> list[dict[str, Any]]:
        """Return the summary documents that fulfil conditions, each with its ``thermo`` documents.

        Parameters
        ----------
        conditions
            Of mp-api's `SummaryRester.search`.

        Raises
        ------
        RequestFailedError
            If an answer is missing or cannot be read.
        """
        summary, thermo = self._ask(self._connected)
        summaries = self._ask(lambda: _documents(summary.search(**conditions, **_asking(SUMMARY_FIELDS))))
        by_id = {str(s["material_id"]): s | {"thermo": []} for s in summaries if not s.get("deprecated")}
        ids = list(by_id)
        for start in range(0, len(ids), _PAGE):
            some = ids[start : start + _PAGE]
            question = partial(thermo.search, material_ids=some, **_asking(THERMO_FIELDS, per_material=3))
            for document in self._ask(lambda: _documents(question())):  # noqa: B023  called at once
                if str(document["material_id"]) in by_id:
                    by_id[str(document["material_id"])]["thermo"].append(document)
        return list(by_id.values())

    def _connected(self) -> tuple[Any, Any]:
        """Return mp-api's clients of the two endpoints."""
        if self._resters is None:
            from mp_api.client import MPRester
            from mp_api.client.core.utils import validate_endpoint
            from mp_api.client.routes.materials.summary import SummaryRester
            from mp_api.client.routes.materials.thermo import ThermoRester
            from requests import get
            from requests.adapters import HTTPAdapter
            from urllib3.util.retry import Retry

            endpoint = validate_endpoint(self._endpoint)
            get(endpoint + "heartbeat", timeout=_CONNECT_TIMEOUT)  # mp-api itself would wait without end
            session = MPRester(self._key, endpoint=endpoint).session  # compares versions, too
            retry = Retry(
                total=_RETRIES,
                backoff_factor=self._backoff,
                backoff_max=_LONGEST_WAIT,
                retry_after_max=_LONGEST_WAIT,
                status_forcelist=(429, 500, 502, 503, 504),
                raise_on_status=False,
            )
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=retry))
            self._resters = (
                _narrowed(SummaryRester, SUMMARY_FIELDS, self._key, endpoint, session),
                _narrowed(ThermoRester, THERMO_FIELDS, self._key, endpoint, session),
            )
        return self._resters

    def _ask(self, question: Callable[[], Any]) -> Any:
        from mp_api.client.core.exceptions import MPRestError
        from requests.exceptions import RequestException

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                answer = question()
            except (MPRestError, RequestException) as error:
                raise self._in_words(error) from error
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise RequestFailedError("the answer cannot be read; it is no document of the API") from error
        if any("may not be compatible" in str(warning.message) for warning in caught):
            notice = (
                f"mp-api {version('mp-api')} may not fit the server; if structures are missing: {_UPDATE}"
            )
            if notice not in self.notices:
                self.notices.append(notice)
        return answer

    def _in_words(self, error: Exception) -> RequestFailedError:
        """Say what happened without the key, the URL and several lines of text."""
        from requests.exceptions import ChunkedEncodingError, JSONDecodeError, Timeout
        from requests.exceptions import ConnectionError as RequestsConnectionError

        causes = (error, error.__context__)  # mp-api raises anew what requests raised
        text = str(error)
        found = re.search(r"error status code (\d{3})", text)
        status = int(found[1]) if found else 400 if "does not support the request" in text else None
        if status in (401, 403):
            return RequestFailedError(
                f"the API key is refused (status {status}): copy yours from {KEYS_PAGE} into MP_API_KEY",
                hopeless=True,
            )
        if status in (400, 404, 422):
            return RequestFailedError(
                f"the server does not know the question (status {status}); mp-api {version('mp-api')} may be "
                f"too old: {_UPDATE}",
                hopeless=True,
            )
        if status is not None:
            return RequestFailedError(f"the server fails (status {status}); try again later")
        if any(isinstance(cause, JSONDecodeError) for cause in causes):
            return RequestFailedError("the answer cannot be read; it is no document of the API")
        if any(isinstance(cause, ChunkedEncodingError) for cause in causes):
            return RequestFailedError("the connection broke in the middle of an answer; try again")
        if any(isinstance(cause, Timeout) for cause in causes) or "timed out" in text:
            return RequestFailedError("no answer in time; try again later")
        if any(isinstance(cause, RequestsConnectionError) for cause in causes):
            return RequestFailedError(
                "no connection; check the network (and HTTPS_PROXY, where there is a proxy)", hopeless=True
            )
        short = " ".join(masked(text).split())[:160]
        return RequestFailedError(short or type(error).__name__)


_UPDATE = "pip install -U mp-api"


def _narrowed(rester: type, fields: Sequence[str], key: str, endpoint: str, session: Any) -> Any:
    """Make a client of one endpoint that knows the fields asked for and no others.

    mp-api works out the schema of the whole document once for each field of each request, 0.3 s altogether.
    """
    from pydantic import create_model

    model = create_model("Document", **dict.fromkeys(fields, (Any, None)))  # type: ignore[call-overload]
    return type(rester.__name__, (rester,), {"document_model": model})(
        api_key=key,
        endpoint=endpoint,
        session=session,
        timeout=_READ_TIMEOUT,
        use_document_model=False,
        mute_progress_bars=True,
    )


def _asking(fields: Sequence[str], per_material: int = 1) -> dict[str, Any]:
    return {"fields": list(fields), "all_fields": False, "chunk_size": per_material * _PAGE}


def _documents(answer: Any) -> list[dict[str, Any]]:
    """Check that an answer is a list of documents with identifiers."""
    if not isinstance(answer, list) or not all(_has_id(document) for document in answer):
        raise ValueError("no documents")
    return answer


def _has_id(document: Mapping[str, Any] | Any) -> bool:
    return isinstance(document, dict) and bool(document.get("material_id"))
