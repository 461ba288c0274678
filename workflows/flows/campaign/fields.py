"""Kinds of values that several sections of a campaign file share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from stores.errors import InputError
from stores.paths import expand_user
from workflows.flows.campaign.problems import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable


class Section(BaseModel):
    """A mapping of the campaign file: no unknown keys, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def choose(word: str, allowed: Iterable[str], what: str) -> str:
    """Return a word that is allowed.

    Raises
    ------
    ValueError
        Naming what is allowed, and what was perhaps meant.
    """
    names = list(allowed)
    if word not in names:
        hint = suggestion(word, names)
        raise ValueError(f"{what} {word!r} is not known{hint or ';'} allowed: {', '.join(names)}")
    return word


def _readable(text: str) -> str:
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError(f"{text!r} holds a control character; remove it")
    return text


def _expandable(path: str) -> str:
    try:
        expand_user(path)
    except InputError as error:
        raise ValueError(str(error)) from None
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


def _partner(symbol: str) -> str:
    from pymatgen.core.periodic_table import Element

    if not Element.is_valid_symbol(symbol):
        near = symbol.strip().capitalize()
        known = near != "Mg" and Element.is_valid_symbol(near)
        hint = f"; did you mean {near!r}?" if known else "; write symbols such as Zn"
        raise ValueError(f"{symbol!r} is no element{hint}")
    if symbol == "Mg":
        raise ValueError("Mg is in every compound; name the other elements only")
    return symbol


Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True), AfterValidator(_readable)]
PathText = Annotated[Text, AfterValidator(_expandable)]
Formula = Annotated[Text, AfterValidator(_plausible)]
PrototypeName = Annotated[str, AfterValidator(_prototype_name)]
Partner = Annotated[str, AfterValidator(_partner)]
