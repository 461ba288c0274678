"""Databases that speak OPTIMADE: where they are and how they name their energies.

Every line has its source, and every licence its link, in docs/sources.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stores.errors import InputError
from stores.secrets import masked
from workflows.structures.sources.protocol import DatabaseValues

if TYPE_CHECKING:
    from collections.abc import Mapping


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
        Of its own properties, e.g. ``_oqmd_`` for ``oqmd``; it tells a server that was given by its URL.
    energies
        What it knows of each structure, the method nearest to PBE first.
    hull_filter
        The property that its server can be asked to limit: energy above hull (eV/atom).
    identifier
        How an entry's id is written so that it is unambiguous; ``{}`` stands for the id.
    id_property
        Property that holds the id people use, where it is not ``id``.
    only_ids
        How the ids of bulk crystals begin, where the server has other things, too.
    page_limit
        Structures to ask for at once.
    """

    name: str
    base_url: str
    prefix: str
    energies: tuple[Energies, ...] = ()
    hull_filter: str = ""
    identifier: str = "{}"
    id_property: str = ""
    only_ids: str = ""
    page_limit: int = 500

    @property
    def properties(self) -> tuple[str, ...]:
        """Own properties to ask for."""
        paths = [p for e in self.energies for p in (e.formation_energy, e.energy_above_hull, e.band_gap)]
        names = dict.fromkeys(path.partition("/")[0] for path in [self.id_property, *paths] if path)
        return tuple(names)

    def identify(self, entry_id: str, attributes: Mapping[str, Any]) -> str:
        """Return the unambiguous identifier of an entry, e.g. ``oqmd-5012``."""
        known = attributes.get(self.id_property) if self.id_property else None
        text = str(entry_id if known in (None, "") else known)
        start = self.identifier.removesuffix("{}")
        return text if text.startswith(start) else start + text

    def values(self, attributes: Mapping[str, Any]) -> tuple[DatabaseValues, ...]:
        """Return what the provider says of an entry; methods without any value are left out."""
        found = []
        for told in self.energies:
            paths = (told.formation_energy, told.energy_above_hull, told.band_gap)
            numbers = [_number(attributes, path) for path in paths]
            if any(number is not None for number in numbers):
                found.append(DatabaseValues(told.method, *numbers))
        return tuple(found)


def _number(attributes: Mapping[str, Any], path: str) -> float | None:
    value: Any = attributes
    for key in path.split("/") if path else ("",):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    # -99999 is JARVIS's "not computed"; no energy per atom and no gap is anywhere near
    return float(value) if abs(value) < 1000 else None


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
        hull_filter="_alexandria_hull_distance",
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
        hull_filter="_oqmd_stability",
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
_BY_NAME = {provider.name: provider for provider in PROVIDERS}


def provider_named(text: str) -> Provider | None:
    """Return a known provider by its short name or its base URL; None for another URL.

    Raises
    ------
    InputError
        If the text is neither a known name nor a URL.
    """
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
    """Describe a server that is not in the table by the prefix it says it has.

    A mirror of a known provider has that provider's properties. Of databases that share a prefix the one is
    taken whose name or path the address ends with, else the first.
    """
    known = [provider for provider in PROVIDERS if provider.prefix == prefix]
    if known:
        last = address.rsplit("/", 1)[-1].lower()
        like = next((p for p in known if last in (p.name, p.base_url.rsplit("/", 1)[-1])), known[0])
        return Provider(**{**like.__dict__, "base_url": address})
    parts = urlsplit(address)
    name = prefix if prefix and re.fullmatch(r"[a-z0-9_]+", prefix) else f"{parts.netloc}{parts.path}"
    return Provider(name=name, base_url=address, prefix=prefix or "", identifier=f"{name}:{{}}")
