"""The datasheet of a data set, made of its records.

Sections after T. Gebru et al., Datasheets for datasets, Commun. ACM 64, 86 (2021), doi:10.1145/3458723. Only
what the records show is stated.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stores.errors import pluralize
from stores.learning.snapshot_rows import CHECKSUMS_FILE
from stores.records import Method
from workflows.analysis.surface_energy import EV_PER_A2_IN_J_PER_M2
from workflows.publication.contents import CHANGED, REMOVED
from workflows.publication.croissant import citation_line
from workflows.publication.left_out import FILE as LEFT_OUT
from workflows.publication.manifest import FAULTS, WORDS
from workflows.publication.markdown import number, plain, table, word
from workflows.publication.model import trained_on

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from workflows.publication.contents import Contents, Summary
    from workflows.publication.model import PublishedModel
    from workflows.publication.terms import Terms

_NOUNS = {"slab": "slab", "bulk": "bulk crystal", "composition": "composition"}
_SHOWN = 20  # faults that are listed; a file has all


@dataclass(frozen=True)
class Audited:
    """What an audit found on published records.

    Attributes
    ----------
    findings
        See `model.audit.checks.Finding.plain`.
    compounds, compared
        Compounds that were looked at, and how many of them have peers to compare with.
    """

    findings: Sequence[Mapping[str, Any]]
    compounds: int
    compared: int


@dataclass(frozen=True)
class Facts:
    """What a datasheet is made of.

    Attributes
    ----------
    left_out
        Values that are not in the data set, by target and verdict.
    audited
        Of an audit; None if none was made.
    """

    contents: Contents
    terms: Terms
    title: str
    description: str
    left_out: Counter[tuple[str, str]]
    audited: Audited | None
    model: PublishedModel | None


def title_of(contents: Contents) -> str:
    """Return a title for data without one."""
    summary = contents.summary
    values = list(dict.fromkeys(word(one.target) for one in contents.targets))
    named = " and ".join([", ".join(values[:-1]), values[-1]] if values[1:] else values)
    things = ", ".join(
        pluralize(count, _NOUNS[kind]) for kind, count in sorted(summary.structure_kinds.items())
    )
    return f"{named[:1].upper()}{named[1:]} of {things} of {_compounds(summary)}"


def _compounds(summary: Summary) -> str:
    return (
        next(iter(summary.compounds))
        if len(summary.compounds) == 1
        else f"{len(summary.compounds)} compounds"
    )


def description_of(contents: Contents) -> str:
    """Return one paragraph about the data."""
    summary = contents.summary
    values = ", ".join(
        f"{one.labels} {word(one.column.name)}{_in(one.column.unit)}" for one in contents.targets
    )
    things = ", ".join(
        pluralize(count, _NOUNS[kind]) for kind, count in sorted(summary.structure_kinds.items())
    )
    origin = {"surfaces": "computed by density functional theory", "labels": "imported from other data sets"}
    made = " and ".join(
        f"{summary.kinds[kind]} {words}" for kind, words in origin.items() if summary.kinds[kind]
    )
    return (
        f"{things} of {_compounds(summary)} in "
        f"{pluralize(len(summary.systems), 'chemical system')} with {values}; {made}. "
        f"Snapshot {contents.snapshot.id} of {contents.snapshot.created_at[:10]}."
    )


def _in(unit: str) -> str:
    return f" ({unit})" if unit else ""


def datasheet(facts: Facts, present: Sequence[str]) -> str:
    """Return the datasheet in Markdown; `present` are the files of the data set."""
    sections = {
        "Motivation": _motivation(facts),
        "Composition": _composition(facts),
        "Collection process": _collection(facts),
        "Preprocessing, cleaning and labelling": _cleaning(facts),
        "Uses": _uses(facts),
        "Distribution": _distribution(facts, present),
        "Maintenance": _maintenance(facts),
    }
    head = f"# {plain(facts.title)}\n\n{facts.description}\n\n"
    return (
        head + "".join(f"## {name}\n\n{text.strip()}\n\n" for name, text in sections.items()).rstrip() + "\n"
    )


def _motivation(facts: Facts) -> str:
    people = ", ".join(f"{one.name} ({one.url})" if one.url else one.name for one in facts.terms.creators)
    return (
        "The values are training data of models that predict them for structures that are not computed yet; "
        "they are published so that such models can be checked and trained again.\n\n"
        f"Created by {people}."
    )


def _composition(facts: Facts) -> str:
    summary = facts.contents.summary
    targets = facts.contents.targets
    text = table(
        ("column", "what it is", "unit", "values", "lowest", "mean", "highest"),
        (
            (
                f"`{one.column.name}`",
                one.column.description,
                one.column.unit,
                one.labels,
                *_range(facts, one.column.name),
            )
            for one in targets
        ),
    )
    if any(one.column.unit == "eV/A^2" for one in targets):
        text += f"1 eV/A^2 is {EV_PER_A2_IN_J_PER_M2:.5f} J/m^2.\n\n"
    text += _elements(summary)
    if gone := summary.states[CHANGED] + summary.states[REMOVED]:
        text += (
            f"Records changed or removed after the snapshot was made: {gone} of "
            f"{sum(summary.states.values())}; their "
            "values and structures are those of the snapshot, details are missing "
            "(`record_state`).\n\n"
        )
    text += "Is anything missing? " + _left_out(facts)
    text += "\nKnown errors. " + _faults(facts)
    described = (c for c in facts.contents.columns if c.name in summary.filled)
    rows = ((f"`{c.name}`", c.description, c.unit) for c in described)
    return text + "\nColumns that have values:\n\n" + table(("column", "what it is", "unit"), rows)


def _range(facts: Facts, name: str) -> tuple[str, str, str]:
    found = facts.contents.summary.ranges[name]
    return number(found.lowest), number(found.mean), number(found.highest)


def _elements(summary: Summary) -> str:
    counts = sorted(summary.elements.items(), key=lambda pair: (-pair[1], pair[0]))
    listed = ", ".join(f"{element} {count}" for element, count in counts)
    return f"Entries by element ({len(counts)}): {listed}.\n\n"


def _left_out(facts: Facts) -> str:
    if not facts.left_out:
        return "No: every value of the methods below that the store had at the time is in the data set.\n"
    total = sum(facts.left_out.values())
    rows = [
        (word(target), word(verdict), count) for (target, verdict), count in sorted(facts.left_out.items())
    ]
    return (
        f"{pluralize(total, 'value')} of the methods below {'is' if total == 1 else 'are'} not in the "
        f"data set; "
        f"`{LEFT_OUT}` lists each with its reason.\n\n" + table(("target", "verdict", "values"), rows)
    )


def _faults(facts: Facts) -> str:
    faults = facts.contents.summary.faults
    text = "No value was rejected after the snapshot was made.\n"
    if faults:
        shown = faults[:_SHOWN]
        more = f" (the first {_SHOWN})" if len(faults) > _SHOWN else ""
        text = (
            f"{pluralize(len(faults), 'value')} of the data set "
            f"{'was' if len(faults) == 1 else 'were'} rejected after the snapshot was made; "
            f"`{FAULTS}` has all. "
            f"Leave them out, or wait for a later version{more}:\n\n"
        ) + table(
            ("record", "compound", "target", "verdict", "reason"),
            (
                (f["record_id"], f["formula"], word(f["target"]), word(f["verdict"]), f["reason"])
                for f in shown
            ),
        )
    if facts.audited is None:
        return (
            text + "\nThe labels were not compared with one another for this data set (`mgsurf publish "
            "--audit`).\n"
        )
    audited, found = facts.audited, facts.audited.findings
    peers = f"{audited.compared} of {pluralize(audited.compounds, 'compound')}"
    text += f"\nAn audit looked for faulty labels; {peers} had similar compounds to compare with. "
    if not found:
        return text + "It found no fault.\n"
    return f"{text}It has {pluralize(len(found), 'finding')}:\n\n" + table(
        ("compound", "target", "check", "level", "entries", "reason"),
        (
            (f["formula"], word(f["target"]), f["check"], f["level"], len(f["records"]), f["reason"])
            for f in found
        ),
    )


def _collection(facts: Facts) -> str:
    summary = facts.contents.summary
    text = ""
    if summary.methods:
        text += (
            "Computed with these settings (records of two fingerprints never meet in one value, except where "
            "they differ in nothing but the setups of elements that only one of them holds):\n\n"
        )
        text += "".join(_method(name, summary.methods[name], summary) for name in sorted(summary.methods))
        sources = ", ".join(f"{name} {count}" for name, count in sorted(summary.provenances.items()))
        text += f"Origin of the bulk crystals, in surfaces: {sources}.\n\n"
        text += (
            "Slabs are symmetric and cut from the relaxed bulk. The surface energy at the Mg-rich end is "
            "[E_slab - (N_X/b) E_bulk - (N_Mg - a N_X/b) mu_Mg] / (2 A) for a compound Mg_a X_b with mu_Mg "
            "the energy per atom of hcp Mg; the work function is the vacuum level, mean of both sides, minus "
            "the Fermi energy.\n\n"
        )
    if summary.sources:
        rows = [(name, count) for name, count in sorted(summary.sources.items())]
        text += "Imported, with the values as their source has them:\n\n" + table(("source", "entries"), rows)
        kinds = ", ".join(f"{count} {word(name)}" for name, count in sorted(summary.geometries.items()))
        text += f"Geometry: {kinds}. How these sources made their values is not recorded here.\n\n"
    if not text:
        text = "The records behind the entries are no longer in the store; how they were made is not known.\n"
    return text


def _method(name: str, method: Mapping[str, Any], summary: Summary) -> str:
    fields: dict[str, Any] = dict(method)
    setups = fields.pop("setups", {})
    extra = fields.pop("extra", {})
    units = {"cutoff": "eV", "k_density": "A", "smearing_width": "eV", "force_tolerance": "eV/A"}
    rows: list[tuple[str, object]] = [
        (f"{word(key)}{_in(units.get(key, ''))}", fields[key])
        for key in Method.model_fields
        if fields.get(key) not in (None, "")
    ]
    used = {e: label for e, label in setups.items() if e in summary.elements or e == "default"}
    if used:
        rows.append(("setups", ", ".join(f"{element}: {label}" for element, label in sorted(used.items()))))
    plain = {key: value for key, value in extra.items() if not isinstance(value, dict | list)}
    rows += [(word(key), value) for key, value in sorted(plain.items())]
    entries = pluralize(summary.fingerprints[name], "slab")
    return f"Method `{name}` ({entries}):\n\n" + table(("setting", "value"), rows)


def _cleaning(facts: Facts) -> str:
    text = (
        "A value is taken only if its verdict is accepted: the calculations converged with one "
        "method, the surface "
        "energy is not negative, the slab did not reconstruct, and the potential in the vacuum is "
        "flat. Imported "
        "values are taken unless an audit excluded them. Structures are the slabs as cut, before "
        "relaxation, or as "
        "their source has them; nothing is rounded or normalised."
    )
    by_method: dict[str, list[str]] = defaultdict(list)
    for one in facts.contents.targets:
        by_method[one.method].append(f"`{one.column.name}` ({one.labels})")
    rows = [(f"`{method}`", ", ".join(names)) for method, names in sorted(by_method.items())]
    return f"{text}\n\n{table(('method', 'values'), rows)}"


def _uses(facts: Facts) -> str:
    text = (
        "To train and to test models of surfaces, to choose compounds, to compare calculations.\n\n"
        "Values of two methods must not be mixed in one target. Slabs of one compound share a bulk "
        "energy: a split "
        "into training and test set that separates compounds, not slabs, is the honest one. Surface "
        "energies depend "
        "on the chemical potential; those at its other end are in `surface_energy_x_rich` where they "
        "are known.\n"
    )
    if facts.model is not None:
        origin = trained_on(facts.model.facts, facts.contents.snapshot.id)
        text += f"\n`model/` holds a model trained on {origin}.\n"
    return text


def _distribution(facts: Facts, present: Sequence[str]) -> str:
    terms = facts.terms
    text = f"Licence: [{terms.licence}]({terms.licence_url}). "
    text += f"DOI: [{terms.doi}]({terms.url}). " if terms.doi else "No DOI yet. "
    if facts.contents.summary.sources:
        text += "The terms of the sources that were imported hold as well. "
    cited = citation_line(terms, facts.title, facts.contents.snapshot.created_at)
    text += f"\n\nCite as: {plain(cited)}\n\n"
    names = [*present, "datasheet.md", "ro-crate-metadata.json"]
    rows = [(f"`{name}`", WORDS[name][1]) for name in WORDS if name in names]
    text += table(
        ("file", "contents"), [*rows, (f"`{CHECKSUMS_FILE}`", "Checksums; `sha256sum -c` reads them")]
    )
    return text + "`mgsurf import FOLDER` reads the data set back into a store, with the same snapshot.\n"


def _maintenance(facts: Facts) -> str:
    snapshot = facts.contents.snapshot
    return (
        f"Version {facts.terms.version}. The data set is the snapshot `{snapshot.id}`, a hash of all "
        f"values and "
        "structures; it never changes. Corrections are another snapshot and another version; `mgsurf "
        "snapshot diff` "
        "compares two. Errors are best reported to the creators."
    )
