"""RO-Crate 1.1 metadata of a data set: its files, people and licence, and the program that made it.

Format: https://w3id.org/ro/crate/1.1; read by the package rocrate in the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.publication.manifest import RO_CRATE, WORDS, listed, present

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workflows.publication.terms import Terms

_PROGRAM = "#mgsurf"


def ro_crate(
    folder: Path, terms: Terms, title: str, description: str, date: str, facts: Mapping[str, str]
) -> dict[str, Any]:
    """Return the metadata of a folder whose other files are all there; `facts` are named values about it."""
    parts = [name for name in present(folder) if name != RO_CRATE]
    people = [one.url or f"#creator-{number}" for number, one in enumerate(terms.creators, 1)]
    properties = {name: f"#{name.replace(' ', '-')}" for name in facts}
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": title,
        "description": description,
        "datePublished": date,
        "version": terms.version,
        "license": {"@id": terms.licence_url},
        "author": [{"@id": person} for person in people],
        "hasPart": [{"@id": name} for name in parts],
        "additionalProperty": [{"@id": name} for name in properties.values()],
        "mentions": {"@id": "#publication"},
    }
    if terms.url:
        root["identifier"] = terms.url
    graph: list[dict[str, Any]] = [
        {
            "@id": RO_CRATE,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        },
        root,
        {
            "@id": terms.licence_url,
            "@type": "CreativeWork",
            "name": terms.licence,
            "identifier": terms.licence,
        },
        *(
            {"@id": person, "@type": "Person", "name": one.name}
            for person, one in zip(people, terms.creators, strict=True)
        ),
        {"@id": _PROGRAM, "@type": "SoftwareApplication", "name": "mgsurf"},
        {
            "@id": "#publication",
            "@type": "CreateAction",
            "name": "mgsurf publish",
            "instrument": {"@id": _PROGRAM},
            "result": {"@id": "./"},
            "endTime": date,
        },
        *(
            {"@id": properties[name], "@type": "PropertyValue", "name": name, "value": value}
            for name, value in facts.items()
        ),
        *(_part(folder, name) for name in parts),
    ]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}


def _part(folder: Path, name: str) -> dict[str, Any]:
    media, words = WORDS[name]
    if name.endswith("/"):
        return {"@id": name, "@type": "Dataset", "name": name.rstrip("/"), "description": words}
    file = listed(folder, name)
    return {
        "@id": name,
        "@type": "File",
        "name": name,
        "description": words,
        "encodingFormat": media,
        "contentSize": str(file.size),
        "sha256": file.sha256,
    }
