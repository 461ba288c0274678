"""The potentials that the engine mlip knows, by the name of its preset; nothing here imports one."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from stores.errors import EngineError, install_command

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Potential:
    """A potential and where it comes from."""

    package: str  # that has its code and weights
    weights: str  # name of the weights in the package
    about: str  # what stands in the place of the functional


PRESETS = {
    "sevennet-0": Potential("sevenn", "7net-0_11July2024", "SevenNet-0, a potential fitted to PBE, no DFT"),
    "chgnet": Potential("chgnet", "0.3.0", "CHGNet, a potential fitted to PBE and PBE+U, no DFT"),
}
DEFAULT = "sevennet-0"  # what the usual preset of an engine, demo, stands for

_UNKNOWN = frozenset({"Po", "At", "Rn", "Fr", "Ra"})
_HEAVIEST = 94  # Pu
"""Both were trained on the Materials Project, which has these elements nowhere, and none beyond Pu."""


def check_installed(preset: str) -> None:
    """Raise `EngineError` in one line if the package of a potential is not installed."""
    package = PRESETS[preset].package
    if importlib.util.find_spec(package) is None:
        raise EngineError(
            f"the engine mlip needs {package} for {preset}, which is not installed: "
            f"{install_command('foundation')} (the extra mgsurf[foundation])"
        )


def package_version(preset: str) -> str:
    """Return name and version of the package of a potential, such as sevenn 0.13.0."""
    check_installed(preset)
    package = PRESETS[preset].package
    return f"{package} {version(package)}"


def check_elements(preset: str, elements: Iterable[str]) -> None:
    """Raise `EngineError` in one line for elements that a potential does not know."""
    from ase.data import atomic_numbers

    unknown = [e for e in sorted(set(elements)) if e in _UNKNOWN or atomic_numbers[e] > _HEAVIEST]
    if unknown:
        raise EngineError(f"{preset} does not know {', '.join(unknown)}: leave them out or use a DFT engine")
