"""Models by version: their cards, their weights, and which of them is in use.

Nothing is ever changed, only added, each step by one insertion that succeeds or does not:

``models``           a card for each version; a version number is taken by inserting its card
``model_decisions``  numbered decisions (promote, reject, rollback); each names the champion after it
``blobs``            weights, written before the card

A process that dies between two steps, or a disk that fills up, leaves the champion that was or the one that
is to be. Of two processes that decide at once one takes the next number and the other gets a `ConflictError`.
Versions and decisions are ordered by their numbers, never by time, so that clocks of several hosts may
disagree.

A file of weights is kept under the SHA-256 of its bytes, in documents of `CHUNK` bytes each (base64, because
documents are JSON; below MongoDB's limit of 16 MB), so that equal files are kept once and every reader
notices a damaged one.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from stores.backends.collection import check_version
from stores.errors import InputError, StoreError
from stores.files import replacing
from stores.learning.decisions import Action, Decision, DecisionLog
from stores.learning.model_card import ModelCard, ModelFacts, WeightFile, Weights, read_entry
from stores.paths import user_and_host
from stores.records import content_hash

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stores.surfaces import SurfaceStore


CHUNK = 4 * 2**20  # bytes of a file in one document


def blob_id(content: bytes) -> str:
    """Return the name of a file's content: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def put_blob(store: SurfaceStore, content: bytes) -> str:
    """Store a file and return its `blob_id`; nothing is written where an equal one is stored whole."""
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
    """Return a file by its `blob_id`; a `StoreError` if it is missing or damaged, `what` it is by name."""
    chunks = {}
    try:
        for document in store.query({"blob": name}, collection="blobs"):
            chunks[document["number"]] = base64.b64decode(document["data"], validate=True)
    except (KeyError, TypeError, ValueError):
        raise StoreError(f"{what} is damaged in the store {store.uri}.") from None
    if not chunks:
        raise StoreError(f"{what} is not in the store {store.uri}.")
    content = b"".join(chunks[number] for number in sorted(chunks))
    if blob_id(content) != name:
        raise StoreError(f"{what} is damaged in the store {store.uri}.")
    return content


_TRIES = 50  # version numbers that others may take first


class ConflictError(StoreError):
    """Another process decided first; nothing was changed."""


class DamagedWeightsError(StoreError):
    """Weights are missing, or are not those of the card."""


class ModelRegistry:
    """The models of a store of any kind, which is not closed."""

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
            False if the same weights were registered before (under the same name, if it is pre-trained): then
            the card of that time.

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
            known = self._cards({"weights.sha256": weights.sha256}, sort={"version": 1})
            if same := [card for card in known if facts.pretrained in ("", card.pretrained)]:
                return same[0], False
            card = ModelCard(
                **facts.model_dump(include=set(ModelFacts.model_fields)),
                version=version,
                created_at=datetime.now(UTC),
                made_by=user_and_host(),
                champion_before=self.champion_version(),
                weights=weights,
            )
            if self.store.collection("models").insert(card.model_dump()):
                return card, True
        raise ConflictError(
            f"{_TRIES} models were registered in {self.store.uri} meanwhile; run the same command again."
        )

    def cards(self) -> list[ModelCard]:
        """Return all cards by version."""
        return self._cards({}, sort={"version": 1})

    def card(self, version: int) -> ModelCard:
        """Return the card of a version; an `InputError` if there is none."""
        found = self._cards({"version": version})
        if not found:
            raise InputError(
                f"The store {self.store.uri} has no model v{version}; mgsurf models list shows all."
            )
        return found[0]

    def pretrained(self) -> dict[str, ModelCard]:
        """Return the cards of pre-trained models by name, the latest version of each."""
        return {card.pretrained: card for card in self.cards() if card.pretrained}

    def resolve(self, name: str) -> int:
        """Return the version that a name means: v3, 3, champion or latest; an `InputError` if none."""
        if name == "champion":
            return self._champion_card().version
        if name == "latest":
            # one that only others start from is what nobody means who predicts
            if own := [card.version for card in self.cards() if not card.pretrained]:
                return own[-1]
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
        what = f"The decision {last['number']} on models in {self.store.uri}"
        check_version(last.get("schema_version"), what)
        version: int | None = last["champion"]
        return version

    def champion(self) -> ModelCard | None:
        """Return the card of the version in use, None if none was ever promoted."""
        version = self.champion_version()
        return None if version is None else self.card(version)

    def decision_log(self) -> DecisionLog:
        """Return all decisions and what follows from them."""
        found = list(self.store.collection("model_decisions").query({}, sort={"number": 1}))
        place = self.store.uri
        return DecisionLog(
            tuple(read_entry(Decision, d, f"The decision {d['number']} on models", place) for d in found)
        )

    def promote(
        self, version: int, reason: str = "", *, replacing: int | Literal["any"] | None = "any"
    ) -> Decision | None:
        """Make a version the champion, once its weights were read and checked.

        Parameters
        ----------
        version
            The new champion; None is returned if it is the champion already.
        reason
            Why, in words.
        replacing
            The champion that it was compared with (None: there was none); if another has become champion,
            nothing is changed. "any": whichever it is.

        Raises
        ------
        ConflictError
            If another process decided first.
        InputError
            If there is no such version.
        DamagedWeightsError
            If its weights are not whole.
        """
        log = self.decision_log()
        if replacing != "any" and log.champion != replacing:
            raise ConflictError(
                f"v{version} was compared with {_named(replacing)}, but {_named(log.champion)} is champion "
                f"of {self.store.uri} now; nothing was changed. Compare it again."
            )
        if log.champion == version:
            return None
        self.weights(self.card(version))
        return self._decide(log, "promote", version, version, reason)

    def reject(self, version: int, reason: str) -> Decision | None:
        """Record that a candidate was not good enough; None if that is recorded already.

        An `InputError` if there is no such version, or it is the champion; a `ConflictError` if another
        process decided first.
        """
        log = self.decision_log()
        self.card(version)
        if log.champion == version:
            raise InputError(f"v{version} is the champion; go back with mgsurf models rollback first.")
        if log.status(version).state == "rejected":
            return None
        return self._decide(log, "reject", version, log.champion, reason)

    def rollback(self, reason: str = "") -> tuple[Decision, list[str]]:
        """Go back to the champion before the present one, and return a line for each that was passed over.

        Champions whose weights are damaged are passed over; an `InputError` if none before this one is
        whole, a `ConflictError` if another process decided first.
        """
        log = self.decision_log()
        if log.champion is None:
            raise InputError(f"The store {self.store.uri} has no champion; promote a model first.")
        notes: list[str] = []
        for version in reversed(log.champions[:-1]):
            try:
                self.weights(self.card(version))
            except DamagedWeightsError as error:
                notes.append(str(error))
                continue
            return self._decide(log, "rollback", log.champion, version, reason), notes
        damaged = f" ({notes[0]})" if notes else ""
        raise InputError(
            f"There is no champion before v{log.champion} to go back to{damaged}; it stays. "
            "mgsurf models promote takes any other version."
        )

    def weights(self, card: ModelCard) -> dict[str, bytes]:
        """Return the files of a model, each checked; a `DamagedWeightsError` names the first that is not."""
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
        """Write the files of a model, once all are checked, into a folder that exists."""
        card = self.card(version)
        for name, content in self.weights(card).items():
            (folder / PurePath(name).name).write_bytes(content)
        return card

    def unpack(self, card: ModelCard, cache: Path) -> Path:
        """Return the folder of a model's files below `cache`, written again unless they are whole.

        A `DamagedWeightsError` if those of the store are not.
        """
        folder = cache / card.weights.sha256[:32]
        if all(
            (path := folder / PurePath(file.name).name).is_file()
            and blob_id(path.read_bytes()) == file.sha256
            for file in card.weights.files
        ):
            return folder
        files = self.weights(card)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with replacing(folder / PurePath(name).name) as written:
                written.write_bytes(content)
        return folder

    def extract_champion(self, folder: Path) -> tuple[ModelCard, list[str]]:
        """Write the files of the champion, or of the last champion before it whose weights are whole.

        Nothing is decided: the champion stays what it is. Returns the card of the model that was written,
        and a line for each one that was passed over; a `DamagedWeightsError` if none has whole weights.
        """
        self._champion_card()
        notes: list[str] = []
        for version in reversed(self.decision_log().champions):
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
        self, log: DecisionLog, action: Action, version: int, champion: int | None, reason: str
    ) -> Decision:
        decision = Decision(
            number=log.next_number,
            action=action,
            version=version,
            champion=champion,
            reason=" ".join(reason.split()),
            decided_at=datetime.now(UTC),
            made_by=user_and_host(),
        )
        if not self.store.collection("model_decisions").insert(decision.model_dump()):
            raise ConflictError(
                f"Another process decided on the models of {self.store.uri} first; nothing was changed "
                f"({action} v{version}). Look at mgsurf models list and decide again."
            )
        return decision


def _named(version: int | None) -> str:
    return "no model" if version is None else f"v{version}"
