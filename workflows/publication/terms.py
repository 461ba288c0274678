"""Terms of a published data set: title, creators, licence, DOI, version; checked before any work."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ORCID = re.compile(r"(?:https?://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])")
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.\d{4,9}/[!-~]+)")
_VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
_LICENCE_PAGES = {
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC-BY-NC-4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
}


@dataclass(frozen=True)
class Creator:
    """A person: the name as it is cited, and the ORCID iD, empty without one."""

    name: str
    orcid: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``Name`` or ``Name <ORCID>``; InputError if it is neither, or the check digit is wrong."""
        match = re.fullmatch(r"\s*([^<>]*[^<>\s])\s*(?:<([^<>]*)>)?\s*", text)
        if match is None or not match[1].isprintable() or not match[1].partition(",")[0].strip():
            raise InputError(f'--creator {text!r}: write it as "Name" or "Name <0000-0002-1825-0097>"')
        if match[2] is None:
            return cls(match[1])
        orcid = _ORCID.fullmatch(match[2].strip())
        if orcid is None or not _check_digit_fits(orcid[1]):
            raise InputError(
                f"--creator {match[1]}: {match[2]!r} is no ORCID iD (16 digits, the last a check "
                f"digit, such as "
                "0000-0002-1825-0097)"
            )
        return cls(match[1], orcid[1])

    @property
    def url(self) -> str:
        """Return the page of the ORCID iD; empty without one."""
        return f"https://orcid.org/{self.orcid}" if self.orcid else ""

    @property
    def names(self) -> tuple[str, str]:
        """Return given and family name of ``Ada Lovelace`` or ``Lovelace, Ada``; one word is the latter."""
        if "," in self.name:
            family, _, given = self.name.partition(",")
            return given.strip(), family.strip()
        given, _, family = self.name.rpartition(" ")
        return given, family


def _check_digit_fits(orcid: str) -> bool:
    """Whether the last digit is that of ISO 7064 MOD 11-2."""
    digits = orcid.replace("-", "")
    total = 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2
    result = (12 - total % 11) % 11
    return digits[-1] == ("X" if result == 10 else str(result))


@dataclass(frozen=True)
class Terms:
    """Under which a data set is published.

    Attributes
    ----------
    title
        Empty: one is made of the contents.
    creators
        At least one.
    licence
        SPDX identifier.
    doi
        Without resolver, empty if there is none yet.
    version
        Of the data set, three numbers.
    """

    title: str
    creators: tuple[Creator, ...]
    licence: str
    doi: str = ""
    version: str = "1.0.0"

    @classmethod
    def parse(
        cls, title: str, creators: Sequence[str], licence: str, doi: str = "", version: str = "1.0.0"
    ) -> Self:
        """Check what a user gave; an InputError names the option that is missing or wrong."""
        if not creators:
            raise InputError(
                'no creator: a data set is cited by its authors; add --creator "Name <ORCID>" for each'
            )
        if not licence.strip():
            raise InputError(
                "no licence: without one nobody may use the data; add --license CC-BY-4.0, or another SPDX "
                "identifier"
            )
        if not title.isprintable():
            raise InputError("--title: write it in one line")
        found = _DOI.fullmatch(doi.strip()) if doi.strip() else None
        if doi.strip() and found is None:
            raise InputError(f"--doi {doi!r} is no DOI; write it as 10.5281/zenodo.1234567")
        if not _VERSION.fullmatch(version):
            raise InputError(f"--data-version {version!r}: write three numbers, such as 1.0.0")
        return cls(
            " ".join(title.split()),
            tuple(dict.fromkeys(Creator.parse(text) for text in creators)),
            _spdx(licence.strip()),
            found[1] if found else "",
            version,
        )

    @property
    def licence_url(self) -> str:
        """Return the page with the text of the licence."""
        return _LICENCE_PAGES.get(self.licence, f"https://spdx.org/licenses/{self.licence}.html")

    @property
    def url(self) -> str:
        """Return where the DOI leads; empty without one."""
        return f"https://doi.org/{self.doi}" if self.doi else ""


def _spdx(text: str) -> str:
    """Return an identifier as SPDX spells it."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        if not re.fullmatch(r"(?!LicenseRef-)[\w.-]+", text, re.IGNORECASE):  # has a page of its own
            raise InvalidLicenseExpression
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        raise InputError(
            f"--license {text!r} is no SPDX identifier; name one of spdx.org/licenses, such as CC-BY-4.0 or "
            "CC0-1.0"
        ) from None
