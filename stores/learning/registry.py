"""Models by version: their cards, their weights, and which of them is in use.

Nothing is ever changed, only added, each step by one insertion that succeeds or does not:

``models``           a card for each version; a version number is taken by inserting its card
``model_decisions``  numbered decisions (promote, reject, rollback); each names the champion after it
``blobs``            weights, see `stores.learning.registry`; written before the card

A process that dies between two steps, or a disk that fills up, leaves the champion that was or the one that
is to be. Of two processes that decide at once one takes the next number and the other is told. Versions and
decisions are ordered by their numbers, never by time, so that clocks of several hosts may disagree.

Files in a store: weights of models, where every host that reaches the store finds them.

A file is kept under the SHA-256 of its bytes, in documents of `CHUNK` bytes each (base64, because documents
are JSON; below MongoDB's limit of 16 MB), so that equal files are kept once and every reader can tell a
damaged one.

The decision log of models: which version was promoted, rejected or rolled back, in which order.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stores.backends.collection import SCHEMA_VERSION
from stores.backends.values import timestamp
from stores.errors import InputError, StoreError
from stores.learning.model_card import ModelCard, ModelFacts, WeightFile, Weights, check_version, read_entry
from stores.paths import user_and_host
from stores.records import content_hash

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stores.surfaces import SurfaceStore


CHUNK = 4 * 2**20
"""Bytes of a file in one document."""


def blob_id(content: bytes) -> str:
    """Return the name of a file's content: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def put_blob(store: SurfaceStore, content: bytes) -> str:
    """Keep a file; nothing is written where an equal one is kept whole.

    Returns
    -------
    str
        Its `blob_id`.

    Raises
    ------
    StoreError
        If the store cannot be written.
    """
    name = blob_id(content)
    parts = [content[start : start + CHUNK] for start in range(0, len(content), CHUNK)] or [b""]
    documents = (
        {"id": f"{name}-{number}", "blob": name, "number": number, "data": base64.b64encode(part).decode()}
        for number, part in enumerate(parts)
    )
    for document in documents:  # one at a time: no more than one chunk is held twice
        store.collection("blobs").upsert(document, keep=("stored_at",))
    return name


def get_blob(store: SurfaceStore, name: str, what: str) -> bytes:
    """Return a file.

    Parameters
    ----------
    store
        Where it is.
    name
        Its `blob_id`.
    what
        What it is, for error messages: "member-0.pt of v3".

    Raises
    ------
    StoreError
        If it is not there, or is damaged.
    """
    chunks = {}
    for document in store.query({"blob": name}, collection="blobs"):
        try:
            chunks[document["number"]] = base64.b64decode(document["data"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise StoreError(f"{what} is damaged in the store {store.uri}.") from None
    if not chunks:
        raise StoreError(f"{what} is not in the store {store.uri}.")
    content = b"".join(chunks[number] for number in sorted(chunks))
    if blob_id(content) != name:
        raise StoreError(f"{what} is damaged in the store {store.uri}.")
    return content


State = Literal["candidate", "champion", "retired", "rejected"]
Action = Literal["promote", "reject", "rollback"]


class Decision(BaseModel):
    """One entry in the decision log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int = Field(ge=1, description="1, 2, ... in the order of decisions")
    schema_version: int = Field(default=SCHEMA_VERSION, description="Version of the entry's layout")
    action: Action
    version: int = Field(description="Promoted, rejected, or rolled back from")
    champion: int | None = Field(description="Version in use after this decision")
    reason: str = Field(default="", description="Why, in words")
    decided_at: datetime = Field(description="By the clock of `made_by` (UTC)")
    made_by: str = Field(description="User and host")


class ModelStatus(BaseModel):
    """State of a version and the decision that it comes from."""

    model_config = ConfigDict(frozen=True)

    state: State = "candidate"
    reason: str = ""
    since: datetime | None = None


class Book:
    """The decisions of a registry, read at one moment.

    Parameters
    ----------
    decisions
        By number.

    Attributes
    ----------
    champions
        Champions that can be gone back to, the present one last.
    """

    def __init__(self, decisions: tuple[Decision, ...]) -> None:
        self.decisions = decisions
        self.champions: list[int] = []
        self._status: dict[int, ModelStatus] = {}
        for decision in decisions:
            self._enter(decision)

    @property
    def champion(self) -> int | None:
        """Version in use, None if none was ever promoted."""
        return self.champions[-1] if self.champions else None

    @property
    def next_number(self) -> int:
        """Number that the next decision takes."""
        return self.decisions[-1].number + 1 if self.decisions else 1

    def status(self, version: int) -> ModelStatus:
        """Return the state of a version; one that nothing was decided about is a candidate."""
        return self._status.get(version, ModelStatus())

    def _enter(self, decision: Decision) -> None:
        if decision.action == "reject":
            self._set(decision.version, "rejected", decision.reason, decision)
            return
        before, after = self.champion, decision.champion
        if decision.action == "promote":
            if before is not None:
                self._set(before, "retired", f"v{decision.version} took its place", decision)
            # one version never stands twice among those to go back to
            self.champions = [*(v for v in self.champions if v != decision.version), decision.version]
            self._set(decision.version, "champion", decision.reason, decision)
            return
        while self.champions and self.champions[-1] != after:
            self._set(self.champions.pop(), "retired", decision.reason or "rolled back", decision)
        if after is not None:
            self._set(after, "champion", f"rolled back from v{decision.version}", decision)

    def _set(self, version: int, state: State, reason: str, decision: Decision) -> None:
        self._status[version] = ModelStatus(state=state, reason=reason, since=decision.decided_at)


_TRIES = 50  # version numbers that others may take first


class ConflictError(StoreError):
    """Another process decided first; nothing was changed."""


class DamagedWeightsError(StoreError):
    """Weights are missing, or are not those of the card."""


class ModelRegistry:
    """The models of a store.

    Parameters
    ----------
    store
        Of any kind; it is not closed.
    """

    def __init__(self, store: SurfaceStore) -> None:
        self.store = store

    def add(self, facts: ModelFacts, files: Mapping[str, bytes]) -> tuple[ModelCard, bool]:
        """Register a model as a candidate.

        Parameters
        ----------
        facts
            About it.
        files
            Its weights by file name.

        Returns
        -------
        card, new
            False if the same weights were registered before: then the card of that time.

        Raises
        ------
        InputError
            If there are no files.
        StoreError
            If the store cannot be written; no version was taken then.
        """
        if not files:
            raise InputError("A model without weights cannot be registered; train it first.")
        listed = tuple(
            WeightFile(name=name, size=len(content), sha256=blob_id(content))
            for name, content in sorted(files.items())
        )
        weights = Weights(sha256=content_hash([[f.name, f.sha256] for f in listed], 64), files=listed)
        for content in files.values():  # before anything else, so that a card never lacks its weights
            put_blob(self.store, content)
        for _ in range(_TRIES):
            # first the number, then whether it is known: who registers the same in between takes the number
            version = self._last_version() + 1
            known = self._cards({"weights.sha256": weights.sha256}, sort={"version": 1}, limit=1)
            if known:
                return known[0], False
            card = ModelCard(
                **facts.model_dump(include=set(ModelFacts.model_fields)),
                version=version,
                created_at=datetime.now(UTC),
                made_by=user_and_host(),
                champion_before=self.champion_version(),
                weights=weights,
            )
            document = card.model_dump(mode="json")
            document["created_at"] = timestamp(card.created_at)
            if self.store.collection("models").insert(document):
                return card, True
        raise ConflictError(
            f"{_TRIES} models were registered in {self.store.uri} meanwhile; run the same command again."
        )

    def cards(self) -> list[ModelCard]:
        """Return all cards by version."""
        return self._cards({}, sort={"version": 1})

    def card(self, version: int) -> ModelCard:
        """Return the card of a version.

        Raises
        ------
        InputError
            If there is none, or it was written by a newer mgsurf.
        """
        found = self._cards({"version": version})
        if not found:
            raise InputError(
                f"The store {self.store.uri} has no model v{version}; mgsurf models list shows all."
            )
        return found[0]

    def resolve(self, name: str) -> int:
        """Return the version that a name means: v3, 3, champion or latest.

        Raises
        ------
        InputError
            If it means none.
        """
        if name == "champion":
            return self._champion_card().version
        if name == "latest":
            if version := self._last_version():
                return version
            raise InputError(f"The store {self.store.uri} has no models; mgsurf models add registers one.")
        digits = name[1:] if name[:1] in ("v", "V") else name
        if not digits.isascii() or not digits.isdigit():
            raise InputError(f"{name!r} names no model; give v1, v2, ..., champion or latest.")
        return self.card(int(digits[:9])).version

    def champion_version(self) -> int | None:
        """Return the version in use, None if none was ever promoted."""
        fields = ["number", "schema_version", "champion"]
        collection = self.store.collection("model_decisions")
        last = next(collection.query({}, fields, sort={"number": -1}, limit=1), None)
        if last is None:
            return None
        check_version(last, f"The decision {last['number']} on models", self.store.uri)
        version: int | None = last["champion"]
        return version

    def champion(self) -> ModelCard | None:
        """Return the card of the version in use, None if none was ever promoted."""
        version = self.champion_version()
        return None if version is None else self.card(version)

    def book(self) -> Book:
        """Return all decisions and what follows from them."""
        found = list(self.store.collection("model_decisions").query({}, sort={"number": 1}))
        place = self.store.uri
        return Book(
            tuple(read_entry(Decision, d, f"The decision {d['number']} on models", place) for d in found)
        )

    def promote(
        self, version: int, reason: str = "", *, replacing: int | Literal["any"] | None = "any"
    ) -> Decision | None:
        """Make a version the champion.

        Parameters
        ----------
        version
            Its weights are read and checked first.
        reason
            Why, in words.
        replacing
            The champion that it was compared with (None: there was none); if another has become champion,
            nothing is changed. "any": whichever it is.

        Returns
        -------
        Decision or None
            None if it is the champion already.

        Raises
        ------
        ConflictError
            If another process decided first.
        InputError
            If there is no such version.
        DamagedWeightsError
            If its weights are not whole.
        """
        book = self.book()
        if replacing != "any" and book.champion != replacing:
            raise ConflictError(
                f"v{version} was compared with {_named(replacing)}, but {_named(book.champion)} is champion "
                f"of {self.store.uri} now; nothing was changed. Compare it again."
            )
        if book.champion == version:
            return None
        self.weights(self.card(version))
        return self._decide(book, "promote", version, version, reason)

    def reject(self, version: int, reason: str) -> Decision | None:
        """Note that a candidate was not good enough; None if that is noted already.

        Raises
        ------
        InputError
            If there is no such version, or it is the champion.
        ConflictError
            If another process decided first.
        """
        book = self.book()
        self.card(version)
        if book.champion == version:
            raise InputError(f"v{version} is the champion; go back with mgsurf models rollback first.")
        if book.status(version).state == "rejected":
            return None
        return self._decide(book, "reject", version, book.champion, reason)

    def rollback(self, reason: str = "") -> tuple[Decision, list[str]]:
        """Go back to the champion before the present one; those whose weights are damaged are passed over.

        Returns
        -------
        decision, notes
            A line for each version that was passed over.

        Raises
        ------
        InputError
            If there is no champion before this one whose weights are whole.
        ConflictError
            If another process decided first.
        """
        book = self.book()
        if book.champion is None:
            raise InputError(f"The store {self.store.uri} has no champion; promote a model first.")
        notes: list[str] = []
        for version in reversed(book.champions[:-1]):
            try:
                self.weights(self.card(version))
            except DamagedWeightsError as error:
                notes.append(str(error))
                continue
            return self._decide(book, "rollback", book.champion, version, reason), notes
        damaged = f" ({notes[0]})" if notes else ""
        raise InputError(
            f"There is no champion before v{book.champion} to go back to{damaged}; it stays. "
            "mgsurf models promote takes any other version."
        )

    def weights(self, card: ModelCard) -> dict[str, bytes]:
        """Return the files of a model, each checked against its hash.

        Raises
        ------
        DamagedWeightsError
            If one is missing or damaged.
        """
        try:
            return {
                file.name: get_blob(self.store, file.sha256, f"{file.name} of {card.name}")
                for file in card.weights.files
            }
        except StoreError as error:
            raise DamagedWeightsError(
                f"{str(error).rstrip('.')}; register the model again with mgsurf models add, or use another."
            ) from error

    def extract(self, version: int, folder: Path) -> ModelCard:
        """Write the checked files of a model into a folder that exists.

        Raises
        ------
        DamagedWeightsError
            If one is missing or damaged; nothing is written then.
        """
        card = self.card(version)
        for name, content in self.weights(card).items():
            (folder / PurePath(name).name).write_bytes(content)
        return card

    def extract_champion(self, folder: Path) -> tuple[ModelCard, list[str]]:
        """Write the files of the champion, or of the last champion before it whose weights are whole.

        Nothing is decided: the champion stays what it is.

        Returns
        -------
        card, notes
            Of the model that was written, and a line for each one that had to be passed over.

        Raises
        ------
        InputError
            If there is no champion.
        DamagedWeightsError
            If no champion, present or past, has whole weights.
        """
        self._champion_card()
        notes: list[str] = []
        for version in reversed(self.book().champions):
            try:
                card = self.extract(version, folder)
            except DamagedWeightsError as error:
                notes.append(str(error))
                continue
            if notes:
                notes.append(f"The champion before it, {card.name}, is used instead.")
            return card, notes
        raise DamagedWeightsError(f"No champion of {self.store.uri} can be loaded: {notes[0]}")

    def _champion_card(self) -> ModelCard:
        card = self.champion()
        if card is None:
            raise InputError(
                f"The store {self.store.uri} has no champion; mgsurf models promote VERSION makes one."
            )
        return card

    def _last_version(self) -> int:
        found = self.store.collection("models").query({}, ["version"], sort={"version": -1}, limit=1)
        return int(next(found, {"version": 0})["version"])

    def _cards(self, criteria: dict[str, Any], **options: Any) -> list[ModelCard]:
        found = self.store.collection("models").query(criteria, **options)
        return [read_entry(ModelCard, d, f"The card of model v{d['version']}", self.store.uri) for d in found]

    def _decide(
        self, book: Book, action: Action, version: int, champion: int | None, reason: str
    ) -> Decision:
        decision = Decision(
            number=book.next_number,
            action=action,
            version=version,
            champion=champion,
            reason=" ".join(reason.split()),
            decided_at=datetime.now(UTC),
            made_by=user_and_host(),
        )
        document = decision.model_dump(mode="json")
        document["decided_at"] = timestamp(decision.decided_at)
        if not self.store.collection("model_decisions").insert(document):
            raise ConflictError(
                f"Another process decided on the models of {self.store.uri} first; nothing was changed "
                f"({action} v{version}). Look at mgsurf models list and decide again."
            )
        return decision


def _named(version: int | None) -> str:
    return "no model" if version is None else f"v{version}"
