"""Checks of the VASP engine. VASP itself is not started: on many machines that is allowed in jobs only."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

from stores.errors import EngineError, install_command
from workflows.execution.checks import Check, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGES = ("atomate2", "custodian")
INSTALL = install_command("vasp")


def is_set_up(environment: Mapping[str, str]) -> bool:
    """Tell whether this machine is meant to run VASP: a command or a folder of POTCARs is named."""
    return bool(environment.get("MGSURF_VASP_CMD") or environment.get("PMG_VASP_PSP_DIR"))


def check_packages() -> Check:
    """Check that atomate2 and custodian are installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return Check("VASP packages", Status.FAIL, f"missing: {', '.join(missing)}", INSTALL)
    return Check("VASP packages", Status.OK, " and ".join(PACKAGES))


def check_command(command: str | None = None) -> Check:
    """Check that the command which starts VASP is there.

    Parameters
    ----------
    command
        The engine's option; None for what the environment says.
    """
    if any(importlib.util.find_spec(name) is None for name in PACKAGES):
        return Check("VASP command", Status.FAIL, "cannot be looked up without custodian", INSTALL)
    from workflows.engines.vasp.custodian import SET_UP, RunControl, vasp_command

    try:
        words = vasp_command(RunControl(vasp_command=command))
    except EngineError as error:
        return Check("VASP command", Status.FAIL, str(error).partition(": set ")[0], SET_UP)
    return Check("VASP command", Status.OK, " ".join(words))


def check_potcars(potcars: Mapping[str, str] | None = None) -> Check:
    """Check the POTCARs: that of Mg stands for all, and how many of the table are there.

    Parameters
    ----------
    potcars
        Labels in place of the table's.
    """
    from workflows.engines.vasp.potcars import POTCAR_LABELS, SET_UP, potcar_folder, read_potcar

    table = POTCAR_LABELS | dict(potcars or {})
    try:
        magnesium = read_potcar("Mg", table["Mg"])
    except EngineError as error:
        return Check("POTCARs", Status.FAIL, str(error).partition(": set ")[0], SET_UP)
    missing: list[str] = []
    wrong: list[str] = []
    for element, label in table.items():
        try:
            read_potcar(element, label)
        except EngineError as error:
            (missing if "no POTCAR" in str(error) else wrong).append(label)
    found = f"{magnesium.title} and {len(table) - len(missing) - len(wrong) - 1} others in {potcar_folder()}"
    if wrong:
        return Check("POTCARs", Status.WARN, f"{found}; unusable: {', '.join(wrong)}", "copy these again")
    return Check("POTCARs", Status.OK, found)


def vasp_set_up_here() -> bool:
    """Tell whether the default checks should look at VASP."""
    return is_set_up(os.environ)
