"""Engines by name."""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from stores.errors import InputError
from workflows.engines.protocol import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

BUILT_IN = {
    "gpaw": "workflows.engines.gpaw:GPAWEngine",
    "vasp": "workflows.engines.vasp:VaspEngine",
}
ENTRY_POINT_GROUP = "mgsurf.engines"


def available_engines() -> dict[str, str]:
    """Return the known engines: name and the place of their class, ``package.module:Class``.

    Engines of other packages join by an entry point in the group ``mgsurf.engines``.
    """
    found = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return {**found, **BUILT_IN}


def _load(name: str) -> Callable[..., Engine]:
    known = available_engines()
    place = known.get(name, name)
    if ":" not in place:
        raise InputError(
            f"unknown engine '{name}': choose one of {', '.join(sorted(known))}, "
            "or name a class as package.module:Class"
        )
    module_name, _, class_name = place.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:  # the latter two: "" and ".x" name no module
        raise InputError(
            f"engine '{name}': cannot import {module_name} ({error}); is it installed?"
        ) from error
    maker: Callable[..., Engine] | None = getattr(module, class_name, None)
    if maker is None or not callable(maker):
        raise InputError(f"engine '{name}': {module_name} has no class {class_name}; check its spelling")
    return maker


def make_engine(name: str, preset: str = "demo", **options: Any) -> Engine:
    """Build an engine.

    Parameters
    ----------
    name
        A name of `available_engines`, or ``package.module:Class``. The class is called with `preset` and
        the options as keywords.
    preset
        Name of a group of settings, e.g. ``demo`` or ``production``.
    **options
        Single settings that differ from the preset's, as plain values.

    Returns
    -------
    Engine
        Ready to use; equal arguments give an engine with an equal `method()`.

    Raises
    ------
    InputError
        If the name, the preset or an option is unknown; the message lists what is allowed.
    """
    maker = _load(name)
    not_an_engine = InputError(
        f"'{name}' is not an engine: its class must be called with preset and options and have every part of "
        "workflows.engines.protocol.Engine"
    )
    try:
        parameters = inspect.signature(maker).parameters
    except (TypeError, ValueError):
        raise not_an_engine from None
    takes_anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    allowed = sorted(set(parameters) - {"preset", "self"})
    unknown = sorted(set(options) - set(parameters))
    if unknown and not takes_anything:
        raise InputError(
            f"engine '{name}' has no option {', '.join(repr(key) for key in unknown)}: "
            f"allowed are {', '.join(allowed) or 'none'}"
        )
    if not takes_anything and "preset" not in parameters:
        raise not_an_engine
    engine = maker(preset=preset, **options)
    if not isinstance(engine, Engine):
        raise not_an_engine
    return engine
