"""The sections `sources` and `filters` of a campaign: where compounds come from, and which are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, model_validator

from stores.errors import InputError
from workflows.flows.campaign.fields import Formula, Partner, PathText, PrototypeName, Section, Text, choose

if TYPE_CHECKING:
    from workflows.structures.sources.filters import CandidateFilter

ORIGINS = ("optimade", "materials_project", "prototypes", "folder", "file")
"""Keys of which each entry of `sources` has one."""

_GOES_WITH = {
    "timeout": "optimade",
    "gnome": "materials_project",
    "partners": "prototypes",
    "formulas": "prototypes",
}


def _provider(name: str) -> str:
    from workflows.structures.sources.optimade_providers import PROVIDERS, provider_named

    try:
        provider_named(name)
    except InputError as error:
        if "://" in name:
            raise ValueError(str(error)) from None
        names = [provider.name for provider in PROVIDERS]
        choose(name.lower(), [*names, "or a base URL (https://...)"], "provider")
    return name


class CandidateSource(Section):
    """One entry of `sources`: databases, decorated prototypes, a file or a folder of files."""

    optimade: list[Annotated[Text, AfterValidator(_provider)]] | None = Field(
        default=None,
        min_length=1,
        description="Databases that speak OPTIMADE, by name (mp, oqmd, alexandria, ...) or base URL",
    )
    timeout: float | None = Field(
        default=None, gt=0, description="With optimade: longest wait for an answer of a provider (s)"
    )
    materials_project: bool | None = Field(
        default=None, description="true: the Materials Project's own interface (needs a key)"
    )
    gnome: bool | None = Field(
        default=None, description="With materials_project: false leaves out the GNoME structures (CC BY-NC)"
    )
    prototypes: list[PrototypeName] | None = Field(
        default=None, min_length=1, description="Structure types to decorate, e.g. B2, C14"
    )
    partners: list[Partner] | None = Field(
        default=None,
        min_length=1,
        description="With prototypes: elements beside Mg; by default those of filters.partners",
    )
    formulas: list[Formula] | None = Field(
        default=None, min_length=1, description="With prototypes: compounds instead of partner elements"
    )
    folder: PathText | None = Field(
        default=None, description="A folder of CIFs and POSCARs, relative to the campaign file"
    )
    file: PathText | None = Field(default=None, description="A CIF or POSCAR, relative to the campaign file")

    @model_validator(mode="after")
    def _one_origin(self) -> CandidateSource:
        given = [name for name in ORIGINS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            raise ValueError(f"give exactly one of {', '.join(ORIGINS)}; found {found}")
        if self.materials_project is False:
            raise ValueError("materials_project is true, or left out")
        for key, origin in _GOES_WITH.items():
            if getattr(self, key) is not None and given != [origin]:
                raise ValueError(f"{key} goes with {origin}, not with {given[0]}")
        return self


class Filters(Section):
    """Which compounds of the sources are wanted. Every one holds Mg."""

    partners: list[Partner] | None = Field(
        default=None, min_length=1, description="Elements allowed beside Mg; null for all"
    )
    exclude: list[Partner] = Field(default_factory=list, description="Elements not allowed")
    radioactive: bool = Field(default=False, description="Allow elements without a stable isotope")
    max_elements: int = Field(
        default=2, ge=2, le=10, description="Elements, Mg included; run computes those of two only"
    )
    max_atoms: int | None = Field(
        default=None, ge=1, description="Atoms in the primitive cell; null for any number"
    )
    metals_only: bool = Field(default=True, description="Refuse what is known to have a band gap")
    max_energy_above_hull: float | None = Field(
        default=None, ge=0, description="Distance from stability (eV/atom); null for any"
    )

    @model_validator(mode="after")
    def _make_sense(self) -> Filters:
        try:
            self.candidate_filter()
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    def candidate_filter(self) -> CandidateFilter:
        """Return the conditions on a single compound."""
        from workflows.structures.sources.filters import CandidateFilter

        return CandidateFilter(
            partners=None if self.partners is None else tuple(self.partners),
            exclude=tuple(self.exclude),
            radioactive=self.radioactive,
            max_elements=self.max_elements,
            max_atoms=self.max_atoms,
            metals_only=self.metals_only,
        )
