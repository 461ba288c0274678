"""Citation and licence of a data set: CITATION.cff (format 1.2.0) and LICENSE.txt."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workflows.publication.terms import Creator, Terms


def citation_file(terms: Terms, title: str, abstract: str, date: str) -> str:
    """Return the text of CITATION.cff."""
    from ruamel.yaml import YAML

    found: dict[str, Any] = {
        "cff-version": "1.2.0",
        "type": "dataset",
        "message": "If you use this data set, please cite it as below.",
        "title": title,
        "abstract": abstract,
        "version": terms.version,
        "date-released": date,
        "license": terms.licence,
        **({"doi": terms.doi} if terms.doi else {}),
        "authors": [_author(one) for one in terms.creators],
    }
    yaml = YAML()
    yaml.width = 100
    text = io.StringIO()
    yaml.dump(found, text)
    return text.getvalue()


def _author(creator: Creator) -> dict[str, str]:
    given, family = creator.names
    orcid = {"orcid": creator.url} if creator.url else {}
    return {"name": family, **orcid} if not given else {"family-names": family, "given-names": given, **orcid}


def licence_file(terms: Terms, title: str, date: str) -> str:
    """Return the text of LICENSE.txt: who holds the rights, the licence and where its text is."""
    holders = ", ".join(creator.name for creator in terms.creators)
    return (
        f"{title}\nCopyright {date[:4]} {holders}\n\nSPDX-License-Identifier: {terms.licence}\n"
        f"{terms.licence_url}\n"
    )
