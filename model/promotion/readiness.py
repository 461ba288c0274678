"""Readiness for a refresh: counts of new records, without torch and without reading a slab."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.data.formula_key import formula_key
from model.data.splits import part_of
from model.promotion.gate import FEWEST_COMPOUNDS
from stores.errors import InputError, pluralize
from stores.labelled import OWN_TARGETS, heads_of, labelled_slabs, of_methods, wanted_targets
from stores.learning.history import last_decided
from stores.learning.registry import ModelRegistry
from stores.learning.snapshot_changes import news_since
from stores.learning.snapshots import find_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stores.labelled import LabelledSlab
    from stores.learning.snapshots import Snapshot
    from stores.surfaces import SurfaceStore

FEWEST = {"train": 6, "val": 2, "test": FEWEST_COMPOUNDS}
"""Compounds that each part must have, with labels of every target."""

FEWEST_RECORDS = 30  # accepted records below which no network is trained, whatever is requested

_WORK = {"train": "to train on", "val": "to validate", "test": "to hold out"}


@dataclass(frozen=True)
class Readiness:
    """What a refresh finds."""

    champion: int | None  # version of the model in use; None: no model
    # accepted, compounds: records with an accepted value of the targets and method in question, and their
    # compounds
    accepted: int
    compounds: int
    parts: dict[str, int]  # compounds with labels of every target by part: train, val, test (held out)
    new: int  # records that are new or have changed since the champion's snapshot
    # the same since the snapshot of the last model that a refresh decided about, if those are fewer
    untried: int
    needed: int  # new records that are required
    missing: tuple[str, ...]  # what is missing, in words; empty if a refresh can continue
    # targets, methods: that are trained on; no method if there is no record
    targets: tuple[str, ...]
    methods: tuple[str, ...]
    refused: int | None = None  # version of that model, where `untried` counts from it
    can_be_forced: bool = False  # true if nothing is missing but that the records be new

    @property
    def ready(self) -> bool:
        """True if nothing is missing."""
        return not self.missing

    def sentence(self) -> str:
        """Describe it in one line."""
        if self.champion is None:
            there = (
                f"{pluralize(self.accepted, 'accepted record')} of {pluralize(self.compounds, 'compound')}"
            )
            aim = "before a model can be trained"
        else:
            there = f"{pluralize(self.new, 'new record')} since the snapshot of champion v{self.champion}"
            if self.refused is not None:
                there += f", {self.untried} of them since v{self.refused} was trained"
            aim = "before the next training"
        if self.ready:
            return f"{there}; enough for a refresh"
        return f"{there}; missing {aim}: {', '.join(self.missing)}"


def readiness(
    store: SurfaceStore,
    *,
    min_new_records: int,
    targets: Sequence[str] | None = None,
    method: str | None = None,
) -> Readiness:
    """Count what a refresh would train on.

    Parameters
    ----------
    min_new_records
        Needed since the last model was made.
    targets
        Names; surface energy and work function by default, as far as there are labels.
    method
        Fingerprint of the labels' method, or its beginning; the champion's by default, else the only one.

    Raises
    ------
    InputError
        If there is no such target or method, or a target has labels of several methods and none was chosen.
    """
    card = ModelRegistry(store).champion()
    snapshot = _snapshot(store, card.snapshot if card else None)
    # the loop is about slabs: bulk crystals and compositions neither make a refresh due nor train its models
    labelled = [s for s in labelled_slabs(store, with_slabs=False) if s.targets and s.has_surface]
    chosen = of_methods(labelled, _methods(method, snapshot, labelled)) if labelled else []
    names = _targets(chosen, targets, store.uri)
    heads = heads_of(chosen, names)
    slabs = [slab for slab in chosen if any((name, slab.method) in heads for name in slab.targets)]

    decided = last_decided(store)
    new = _news(store, snapshot, slabs)
    untried, refused = new, None
    if decided is not None and card is not None and decided.version != card.version:
        since = _news(store, _snapshot(store, decided.snapshot), slabs)
        if len(since) < len(new):
            untried, refused = since, decided.version
    elif decided is not None and card is None:
        untried = _news(store, _snapshot(store, decided.snapshot), slabs)
        refused = decided.version

    parts = _parts(slabs, names)
    needed = max(min_new_records, FEWEST_RECORDS if card is None and decided is None else 1)
    missing = []
    if (lacking := needed - len(untried)) > 0:
        missing.append(f"{pluralize(lacking, 'more record')}")
    elif len(slabs) < FEWEST_RECORDS:
        lacking = FEWEST_RECORDS - len(slabs)
        missing.append(f"{pluralize(lacking, 'more record')}")
    lacking_compounds = [
        f"{pluralize(FEWEST[part] - count, 'more compound')} {_WORK[part]}"
        for part, count in parts.items()
        if count < FEWEST[part]
    ]
    return Readiness(
        champion=card.version if card else None,
        accepted=len(slabs),
        compounds=len({_crystal(slab) for slab in slabs}),
        parts=parts,
        new=len(new),
        untried=len(untried),
        needed=needed,
        missing=(*missing, *lacking_compounds),
        targets=tuple(names),
        methods=tuple(sorted({method for _, method in heads})),
        refused=refused,
        can_be_forced=len(slabs) >= FEWEST_RECORDS and not lacking_compounds,
    )


def _snapshot(store: SurfaceStore, name: str | None) -> Snapshot | None:
    """Return a snapshot; None if not found, so that everything counts as new."""
    if name is None:
        return None
    try:
        return find_snapshot(store, name)
    except InputError:
        return None


def _methods(
    method: str | None, snapshot: Snapshot | None, slabs: Sequence[LabelledSlab]
) -> list[str] | None:
    if method is not None:
        return [method]
    there = {slab.method for slab in slabs}
    # of methods whose records are all gone nothing can be trained
    known = {head.method for head in snapshot.heads} & there if snapshot else set()
    return sorted(known) or None


def _targets(slabs: Sequence[LabelledSlab], targets: Sequence[str] | None, uri: str) -> list[str]:
    if not slabs:
        return list(targets or OWN_TARGETS)
    names = wanted_targets(slabs, targets, f"The store {uri}")
    own = [name for name in names if name in OWN_TARGETS]
    return names if targets is not None else own or names


def _news(store: SurfaceStore, snapshot: Snapshot | None, slabs: Sequence[LabelledSlab]) -> set[str]:
    ids = {slab.record_id for slab in slabs}
    if snapshot is None:
        return ids
    news = news_since(store, snapshot, slabs=slabs)
    return ids & {*news.added, *news.changed, *news.other_methods}


def _parts(slabs: Sequence[LabelledSlab], targets: Sequence[str]) -> dict[str, int]:
    """Count the compounds of each part that have labels of every target: of the rarest target."""
    crystals = {target: {_crystal(slab) for slab in slabs if target in slab.targets} for target in targets}
    counts = {target: Counter(map(part_of, names)) for target, names in crystals.items()}
    return {part: min((count[part] for count in counts.values()), default=0) for part in FEWEST}


def _crystal(slab: LabelledSlab) -> str:
    return formula_key(slab.formula, slab.chemsys, slab.compound)
