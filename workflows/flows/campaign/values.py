"""Values of the campaign file: texts, names and paths that are checked while it is read."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from stores.errors import InputError
from stores.paths import expand_user
from workflows.flows.campaign.problems import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


PRESETS = (
    *("best", "best-foundation", "sem-cgcnn", "surface", "gradnorm", "mtl"),
    *("stl-surface-energy", "stl-work-function", "mcvn"),
)
"""Names of `model.training.presets.PRESETS` that slabs are learned with; they need torch: a test compares."""


@contextmanager
def as_value_errors() -> Iterator[None]:
    """Raise `InputError` as the `ValueError` that pydantic collects; used as a decorator."""
    try:
        yield
    except InputError as error:
        raise ValueError(str(error)) from None


def choose(word: str, allowed: Iterable[str], what: str) -> str:
    """Return a word that is allowed; else raise `ValueError` with the allowed ones and the nearest."""
    names = list(allowed)
    if word not in names:
        hint = suggestion(word, names)
        raise ValueError(f"{what} {word!r} is not known{hint or ';'} allowed: {', '.join(names)}")
    return word


def only_key(section: BaseModel, names: Iterable[str]) -> str:
    """Return the one key of several that a section has."""
    given = [name for name in names if getattr(section, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) if given else "none of them"
        raise ValueError(f"give exactly one of {', '.join(names)}; found {found}")
    return given[0]


def _readable(text: str) -> str:
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError(f"{text!r} holds a control character; remove it")
    return text


@as_value_errors()
def _expandable(path: str) -> str:
    expand_user(path)
    return path


def _plausible(formula: str) -> str:
    if re.search(r"\d{7}", formula):
        raise ValueError("a formula with a number of over six digits; write it like MgAg or Mg17Al12")
    return formula


def _prototype_name(name: str) -> str:
    from workflows.structures.prototypes import PROTOTYPES, prototype

    try:
        prototype(name)
    except InputError:
        choose(name, [kind.name for kind in PROTOTYPES], "prototype")
    return name


@as_value_errors()
def _partner(symbol: str) -> str:
    from workflows.structures.sources.filters import check_partner

    check_partner(symbol)
    return symbol


@as_value_errors()
def _provider(name: str) -> str:
    from workflows.structures.sources.optimade_providers import PROVIDERS, provider_named

    try:
        provider_named(name)
    except InputError:
        if "://" in name:
            raise
        names = [provider.name for provider in PROVIDERS]
        choose(name.lower(), [*names, "or a base URL (https://...)"], "provider")
    return name


@as_value_errors()
def _facet(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    from workflows.structures.naming import parse_miller

    plane = parse_miller(value)
    handler(plane)  # returns a plain tuple, in which a FourIndex would be lost
    return plane


def _campaign_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"{name!r} may hold letters, digits, - and _ only")
    return name


def _engine_name(name: str) -> str:
    from workflows.engines.registry import BUILT_IN, available_engines

    if name in BUILT_IN or re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", name):
        return name
    if ":" in name:
        raise ValueError(f"{name!r} is no place of a class; write it as package.module:Class")
    return choose(name, available_engines(), "engine")


def _pre_relaxation(name: str) -> str:
    from workflows.jobs.pre_relaxation import PRE_RELAXATIONS

    return choose(name, PRE_RELAXATIONS, "pre-relaxation")


def _preset(name: str) -> str:
    return choose(name, PRESETS, "preset")


@as_value_errors()
def _store(uri: str) -> str:
    from stores.connections import parse_uri

    parse_uri(uri)
    return uri


Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True), AfterValidator(_readable)]
PathText = Annotated[Text, AfterValidator(_expandable)]
Formula = Annotated[Text, AfterValidator(_plausible)]
PrototypeName = Annotated[str, AfterValidator(_prototype_name)]
Partner = Annotated[str, AfterValidator(_partner)]
MillerIndex = tuple[int, int, int]
Facet = Annotated[MillerIndex, WrapValidator(_facet)]
Provider = Annotated[Text, AfterValidator(_provider)]
CampaignName = Annotated[str, AfterValidator(_campaign_name)]
EngineName = Annotated[str, AfterValidator(_engine_name)]
PreRelaxation = Annotated[str, AfterValidator(_pre_relaxation)]
ModelPreset = Annotated[str, AfterValidator(_preset)]
StoreUri = Annotated[Text, AfterValidator(_store)]
