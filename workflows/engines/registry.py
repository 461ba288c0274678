"""Engines by name, and numbers given as their options."""

from __future__ import annotations

import importlib
import inspect
import math
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast

from stores.errors import InputError, MgsurfError
from workflows.engines.protocol import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


BUILT_IN = {
    "gpaw": "workflows.engines.gpaw.engine:GPAWEngine",
    "mlip": "workflows.engines.mlip.engine:MlipEngine",
    "vasp": "workflows.engines.vasp.engine:VaspEngine",
}
ENTRY_POINT_GROUP = "mgsurf.engines"
CALCULATIONS = (
    *("method", "check_elements", "kpoints"),
    *("relax_bulk", "static_bulk", "relax_slab", "static_slab"),
)
"""The methods of `workflows.engines.protocol.Engine`."""


def available_engines() -> dict[str, str]:
    """Return the known engines: name and the place of their class, ``package.module:Class``.

    Engines of other packages join by an entry point in the group ``mgsurf.engines``.
    """
    found = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return {**found, **BUILT_IN}


def _load(name: str) -> Callable[..., Engine]:
    # every job makes its engine, and reading entry points takes longer than all the rest of it
    place = name if ":" in name else BUILT_IN.get(name) or available_engines().get(name, name)
    if ":" not in place:
        raise InputError(
            f"unknown engine '{name}': choose one of {', '.join(sorted(available_engines()))}, "
            "or name a class as package.module:Class"
        )
    module_name, _, class_name = place.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(
            f"engine '{name}': cannot import {module_name} ({error}); is it installed?"
        ) from error
    except (Exception, SystemExit) as error:  # anything may happen in a module of somebody else
        raise InputError(
            f"engine '{name}': importing {module_name} failed ({_in_one_line(error)}); correct the module"
        ) from error
    maker = getattr(module, class_name, None)
    if maker is None:
        raise InputError(f"engine '{name}': {module_name} has no class {class_name}; check its spelling")
    # before it is called: subprocess:run and os:system name functions that do something else
    if not inspect.isclass(maker) or any(
        not callable(inspect.getattr_static(maker, part, None)) for part in CALCULATIONS
    ):
        raise _not_an_engine(name)
    return cast("Callable[..., Engine]", maker)


def _not_an_engine(name: str) -> InputError:
    return InputError(
        f"'{name}' is not an engine: name a class that is called with preset and options and has "
        f"{', '.join(('name', *CALCULATIONS))}, see workflows.engines.protocol.Engine"
    )


def _in_one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


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
    try:
        parameters = inspect.signature(maker).parameters
    except (TypeError, ValueError):
        raise _not_an_engine(name) from None
    takes_anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    allowed = sorted(set(parameters) - {"preset", "self"})
    unknown = sorted(set(options) - set(parameters))
    if unknown and not takes_anything:
        raise InputError(
            f"engine '{name}' has no option {', '.join(repr(key) for key in unknown)}: "
            f"allowed are {', '.join(allowed) or 'none'}"
        )
    if not takes_anything and "preset" not in parameters:
        raise _not_an_engine(name)
    try:
        engine = maker(preset=preset, **options)
    except MgsurfError:
        raise
    except Exception as error:
        raise InputError(
            f"engine '{name}': its class refuses preset '{preset}' and the options ({_in_one_line(error)}); "
            "correct the options, or the class"
        ) from error
    if not isinstance(engine, Engine):
        raise _not_an_engine(name)
    return engine


def check_options(
    engine: Engine,
    presets: Collection[str],
    numbers: Iterable[str],
    whole: Collection[str],
    may_be_zero: Collection[str] = (),
) -> None:
    """Check the preset and the numbers among an engine's fields; None stands for the preset's value.

    Each number is set in the one type it is hashed in, for 6 and 6.0 are the same setting: an int if it must
    be `whole`, else a float. InputError if one is not positive (or 0 where that is allowed), or not whole.
    """
    preset = getattr(engine, "preset", "")
    if preset not in presets:
        allowed = ", ".join(sorted(presets))
        raise InputError(f"engine '{engine.name}' has no preset '{preset}': allowed are {allowed}")
    for option in numbers:
        value = getattr(engine, option)
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < 0 or (value == 0 and option not in may_be_zero):
            raise InputError(f"engine '{engine.name}': {option} must be a positive number, got {value!r}")
        if option in whole and value != int(value):
            raise InputError(f"engine '{engine.name}': {option} must be a whole number, got {value!r}")
        setattr(engine, option, int(value) if option in whole else float(value))
