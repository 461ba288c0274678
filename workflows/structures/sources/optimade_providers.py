"""OPTIMADE databases: their addresses, the names of their energies, and the filter sent to them.

Every line of the table has its source, and every licence its link, in docs/sources.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stores.errors import InputError
from stores.secrets import masked
from workflows.structures.sources.protocol import DatabaseValues, number_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workflows.structures.sources.filters import CandidateFilter

_CELLS = 4  # a conventional cell holds at most four primitive ones (F), and some databases serve these


@dataclass(frozen=True)
class Energies:
    """One method of a provider: paths into an entry's attributes, all values in eV or eV/atom.

    A path names keys of nested objects, separated by ``/``, e.g. ``_mp_stability/r2scan/energy_above_hull``.
    """

    method: str
    formation_energy: str = ""
    energy_above_hull: str = ""
    band_gap: str = ""


@dataclass(frozen=True)
class Provider:
    """A database.

    Attributes
    ----------
    name
        Short name, e.g. ``oqmd``.
    base_url
        Of the API, without version.
    prefix
        Of its own properties, e.g. ``oqmd`` for ``_oqmd_...``; it identifies a server that is given by its
        URL.
    energies
        By method, the one nearest to PBE first.
    identifier
        Unambiguous form of an entry's id; ``{}`` stands for the id.
    id_property
        Property that holds the id people use, where it is not ``id``.
    only_ids
        Prefix of the ids of bulk crystals, where the server holds other things, too.
    condition
        Added to the filter: what bulk crystals meet, where the server holds other things, too.
    page_limit
        Structures in one page.
    """

    name: str
    base_url: str
    prefix: str
    energies: tuple[Energies, ...] = ()
    identifier: str = "{}"
    id_property: str = ""
    only_ids: str = ""
    condition: str = ""
    page_limit: int = 500

    @property
    def properties(self) -> tuple[str, ...]:
        """Own properties to request."""
        paths = [p for e in self.energies for p in (e.formation_energy, e.energy_above_hull, e.band_gap)]
        names = dict.fromkeys(path.partition("/")[0] for path in [self.id_property, *paths] if path)
        return tuple(names)

    def select(self, text: str) -> str:
        """Return a filter for this provider."""
        return f"{text} AND {self.condition}" if self.condition else text

    def identify(self, entry_id: str, attributes: Mapping[str, Any]) -> str:
        """Return the unambiguous identifier of an entry, e.g. ``oqmd-5012``."""
        known = attributes.get(self.id_property) if self.id_property else None
        text = str(entry_id if known in (None, "") else known)
        start = self.identifier.removesuffix("{}")
        return text if text.startswith(start) else start + text

    def values(self, attributes: Mapping[str, Any]) -> tuple[DatabaseValues, ...]:
        """Return the provider's values of an entry; methods without any value are left out."""
        found = []
        for method in self.energies:
            paths = (method.formation_energy, method.energy_above_hull, method.band_gap)
            numbers = [_number(attributes, path) for path in paths]
            if any(number is not None for number in numbers):
                found.append(DatabaseValues(method.method, *numbers))
        return tuple(found)


def _number(attributes: Mapping[str, Any], path: str) -> float | None:
    value: Any = attributes
    for key in path.split("/") if path else ("",):
        value = value.get(key) if isinstance(value, dict) else None
    number = number_or_none(value)
    # -99999 is JARVIS's "not computed"; no energy per atom and no gap is anywhere near
    return None if number is None or abs(number) >= 1000 else number


def _alexandria(name: str, functional: str) -> Provider:
    return Provider(
        name=name,
        base_url=f"https://alexandria.icams.rub.de/{functional.lower()}",
        prefix="alexandria",
        energies=(
            Energies(
                f"alexandria {functional}",
                "_alexandria_formation_energy_per_atom",
                "_alexandria_hull_distance",
                "_alexandria_band_gap",
            ),
        ),
        identifier=f"{name}:{{}}",
        page_limit=100,
    )


PROVIDERS: tuple[Provider, ...] = (
    Provider(
        name="mp",
        base_url="https://optimade.materialsproject.org",
        prefix="mp",
        energies=tuple(
            Energies(
                f"mp {kind.upper()}",
                f"_mp_stability/{kind}/formation_energy_per_atom",
                f"_mp_stability/{kind}/energy_above_hull",
            )
            for kind in ("gga_gga+u", "gga_gga+u_r2scan", "r2scan")
        ),
        page_limit=100,
    ),
    Provider(
        name="oqmd",
        base_url="https://oqmd.org/optimade",
        prefix="oqmd",
        energies=(Energies("oqmd", "_oqmd_delta_e", "_oqmd_stability", "_oqmd_band_gap"),),
        identifier="oqmd-{}",
        id_property="_oqmd_entry_id",
        page_limit=100,
    ),
    _alexandria("alexandria", "PBE"),
    _alexandria("alexandria-pbesol", "PBEsol"),
    Provider(
        name="jarvis",
        base_url="https://jarvis.nist.gov/optimade/jarvisdft",
        prefix="jarvis",
        energies=(
            Energies(
                "jarvis OptB88vdW",
                "_jarvis_formation_energy_peratom",
                "_jarvis_ehull",
                "_jarvis_optb88vdw_bandgap",
            ),
        ),
        identifier="jarvis:{}",
        only_ids="dft_3d",  # the same server holds copies of other databases
        page_limit=20,
    ),
    Provider(name="aflow", base_url="https://aflow.org/API/optimade", prefix="aflow", identifier="aflow:{}"),
    Provider(
        name="cod",
        base_url="https://www.crystallography.net/cod/optimade",
        prefix="cod",
        identifier="cod-{}",
        page_limit=100,
    ),
)
OWN = Provider(  # its energies are of as many methods as its store: they do not meet in one hull
    name="mgsurf", base_url="", prefix="mgsurf", identifier="mgsurf:{}", condition="nperiodic_dimensions=3"
)
"""What `mgsurf serve` offers, wherever it runs."""
_BY_NAME = {provider.name: provider for provider in PROVIDERS}


def provider_named(text: str) -> Provider | None:
    """Return the provider of a short name or base URL, None for another URL; else raise `InputError`."""
    text = text.strip()
    if text.lower() in _BY_NAME:
        return _BY_NAME[text.lower()]
    if masked(text) != text:
        raise InputError(
            f"{masked(text)}: a password or token in an address would stand in lock files and records; leave "
            "it out, and put user and password into ~/.netrc"
        )
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"{text!r} is no OPTIMADE provider: use {', '.join(_BY_NAME)}, or the base URL of a server "
            "(https://...)"
        )
    address = base_url(text)
    return next((known for known in PROVIDERS if known.base_url.lower() == address.lower()), None)


def base_url(text: str) -> str:
    """Return the base URL of an API: no version, no endpoint, no query, no slash at the end."""
    address = text.strip().split("?")[0].rstrip("/").removesuffix("/structures")
    return re.sub(r"/v\d+(\.\d+)*$", "", address)


def provider_at(address: str, prefix: str | None) -> Provider:
    """Describe a server that is not in the table by its prefix.

    A mirror of a known provider has that provider's properties. Of databases that share a prefix the one is
    taken whose name or path the address ends with, else the first.
    """
    known = [provider for provider in (*PROVIDERS, OWN) if provider.prefix == prefix]
    if known:
        last = address.rsplit("/", 1)[-1].lower()
        like = next((p for p in known if last in (p.name, p.base_url.rsplit("/", 1)[-1])), known[0])
        return replace(like, base_url=address)
    parts = urlsplit(address)
    name = prefix if prefix and re.fullmatch(r"[a-z0-9_]+", prefix) else f"{parts.netloc}{parts.path}"
    return Provider(name=name, base_url=address, prefix=prefix or "", identifier=f"{name}:{{}}")


def essential_filter(wanted: CandidateFilter) -> str:
    """Return the least OPTIMADE filter that a server must support."""
    most = wanted.max_elements
    number = "nelements=2" if most == 2 else f"nelements>=2 AND nelements<={most}"
    return f'elements HAS ALL "Mg" AND {number}'


def full_filter(wanted: CandidateFilter) -> str:
    """Return the OPTIMADE filter.

    Parentheses and NOT are avoided: some servers answer them with other structures (JARVIS:
    https://github.com/atomgptlab/jarvis/issues/4).
    """
    parts = [essential_filter(wanted)]
    if wanted.partners is not None:
        parts.append("elements HAS ANY " + ",".join(f'"{p}"' for p in sorted(set(wanted.partners))))
    if wanted.max_atoms is not None:
        parts.append(f"nsites<={_CELLS * wanted.max_atoms}")
    return " AND ".join(parts)


def meets_essential(wanted: CandidateFilter, elements: Iterable[str]) -> bool:
    """Return whether a compound of these elements meets `essential_filter`."""
    held = set(elements)
    return "Mg" in held and 2 <= len(held) <= wanted.max_elements


def meets_full(wanted: CandidateFilter, elements: Iterable[str], sites: int) -> bool:
    """Return whether a structure meets `full_filter` and holds no excluded element."""
    held = set(elements)
    return (
        meets_essential(wanted, held)
        and not held & set(wanted.exclude)
        and (wanted.partners is None or held <= {"Mg", *wanted.partners})
        and (wanted.max_atoms is None or sites <= _CELLS * wanted.max_atoms)
    )
