"""Croissant 1.0 metadata of a data set: its files, and the fields of its table.

Format: https://docs.mlcommons.org/croissant/docs/croissant-spec.html; checked with mlcroissant in the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stores.learning.snapshot_rows import DATA_FILE
from workflows.publication.manifest import CSV_FILE, OPTIMADE_FILE, WORDS, XYZ_FILE, listed, present

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from stores.learning.snapshot_rows import Column
    from workflows.publication.terms import Terms

RECORD_SET = "entries"

_FILES = (DATA_FILE, CSV_FILE, XYZ_FILE, OPTIMADE_FILE)

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of the specification."""

_TYPES = {
    "text": "sc:Text", "json": "sc:Text", "texts": "sc:Text", "integer": "sc:Integer", "number": "sc:Float",
    "numbers": "sc:Float",
}  # fmt: skip


def croissant(
    folder: Path, terms: Terms, title: str, description: str, date: str, columns: Sequence[Column]
) -> dict[str, Any]:
    """Return the metadata; `columns` are those of the Parquet file that have values."""
    found: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": title,
        "description": description,
        "license": terms.licence_url,
        "version": terms.version,
        "datePublished": date,
        "isLiveDataset": False,
        "citeAs": citation_line(terms, title, date),
        "creator": [
            {"@type": "sc:Person", "name": one.name, **({"url": one.url} if one.url else {})}
            for one in terms.creators
        ],
        "distribution": [_file(folder, name) for name in present(folder, _FILES)],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": RECORD_SET,
                "name": RECORD_SET,
                "description": "An entry for each structure or composition.",
                "key": {"@id": f"{RECORD_SET}/record_id"},
                "field": [_field(column) for column in columns],
            }
        ],
    }  # fmt: skip
    if terms.url:
        found |= {"url": terms.url, "sameAs": terms.url}
    return found


def citation_line(terms: Terms, title: str, date: str) -> str:
    """Return the reference to the data set."""
    authors = "; ".join(creator.name for creator in terms.creators)
    return f"{authors}: {title}, version {terms.version} ({date[:4]})" + (
        f". {terms.url}" if terms.url else ""
    )


def _file(folder: Path, name: str) -> dict[str, Any]:
    file = listed(folder, name)
    media, words = WORDS[name]
    if name == DATA_FILE:
        media = "application/x-parquet"  # the name that the format has for Croissant
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": words,
        "contentUrl": name,
        "contentSize": f"{file.size} B",
        "encodingFormat": media,
        "sha256": file.sha256,
    }


def _field(column: Column) -> dict[str, Any]:
    unit = f" ({column.unit})" if column.unit else ""
    return {
        "@type": "cr:Field",
        "@id": f"{RECORD_SET}/{column.name}",
        "name": column.name,
        "description": f"{column.description}{unit}",
        "dataType": _TYPES[column.kind],
        **({"repeated": True} if column.kind in ("texts", "numbers") else {}),
        "source": {"fileObject": {"@id": DATA_FILE}, "extract": {"column": column.name}},
    }
