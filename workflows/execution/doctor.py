"""What `mgsurf doctor` looks at: everything a campaign needs on this machine."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import MgsurfError, counted
from stores.settings_file import resolve_work_dir
from workflows.execution.checks import (
    Check,
    Status,
    check_folder,
    check_memory,
    check_packages,
    check_python,
    check_threads,
)
from workflows.execution.gpaw_checks import check_gpaw, check_mpi, check_setups
from workflows.execution.vasp_checks import check_command as check_vasp_command
from workflows.execution.vasp_checks import check_packages as check_vasp_packages
from workflows.execution.vasp_checks import check_potcars, vasp_set_up_here

if TYPE_CHECKING:
    from collections.abc import Callable

_GPAW_CHECKS: dict[str, Callable[[], Check]] = {
    "GPAW": check_gpaw,
    "PAW setups": check_setups,
    "MPI": check_mpi,
}
"""Checks that start processes and wait for them."""


def run_checks(
    store_uri: str | None = None, work_dir: Path | None = None, engine: str = "gpaw"
) -> list[Check]:
    """Look at everything a campaign needs.

    Parameters
    ----------
    store_uri
        Store of the campaign; None for the one commands take when told none.
    work_dir
        Folder of the calculations; None for the default one.
    engine
        Name of the engine; ``gpaw`` and ``vasp`` have checks of their own. With ``gpaw``, the default, VASP
        is looked at too where it is set up.

    Returns
    -------
    list of Check
        In a fixed order. A check that itself breaks comes back as failed; nothing is raised.
    """
    from stores.connections import resolve_store_uri

    try:
        uri = resolve_store_uri(store_uri)
    except MgsurfError:
        uri = store_uri or os.environ.get("MGSURF_STORE") or ""  # check_store says what is wrong with it
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("Python", check_python),
        ("packages", check_packages),
        *_engine_checks(engine),
        ("OMP_NUM_THREADS", lambda: check_threads(os.environ.get("OMP_NUM_THREADS"))),
        ("store", lambda: check_store(uri)),
        *_store_folder_check(uri),
        ("work folder", lambda: check_folder("work folder", resolve_work_dir(work_dir))),
        ("memory", check_memory),
    ]
    # Most of the time goes into waiting for GPAW and mpirun to start. The other checks import packages, which
    # threads must not do side by side: one of them meets a package that another has imported in part.
    with ThreadPoolExecutor(max_workers=len(_GPAW_CHECKS)) as pool:
        waiting = {name: pool.submit(_guarded, name, check) for name, check in checks if name in _GPAW_CHECKS}
        found = {name: _guarded(name, check) for name, check in checks if name not in waiting}
    found |= {name: check.result() for name, check in waiting.items()}
    return [found[name] for name, _ in checks]


def _engine_checks(engine: str) -> list[tuple[str, Callable[[], Check]]]:
    if engine == "gpaw":
        return [*_GPAW_CHECKS.items(), *(_vasp_checks() if vasp_set_up_here() else [])]
    if engine == "vasp":
        return _vasp_checks()
    return [("engine", lambda: check_engine(engine))]


def _vasp_checks() -> list[tuple[str, Callable[[], Check]]]:
    return [
        ("VASP packages", check_vasp_packages),
        ("VASP command", check_vasp_command),
        ("POTCARs", check_potcars),
    ]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except MgsurfError as error:
        return Check(name, Status.FAIL, " ".join(str(error).split()), "see the message")
    except Exception as error:  # noqa: BLE001 - a broken check must not hide the others
        found = f"internal error in check: {type(error).__name__}: {' '.join(str(error).split())}"
        return Check(name, Status.FAIL, found, "report this as a bug of mgsurf")


def check_engine(engine: str) -> Check:
    """Check that an engine other than GPAW can be made."""
    from workflows.engines.registry import make_engine

    try:
        made = make_engine(engine)
    except MgsurfError as error:
        return Check("engine", Status.FAIL, str(error), "name a known engine or install its package")
    return Check("engine", Status.OK, f"{made.name}, preset {made.method().preset}")


def check_store(uri: str) -> Check:
    """Check that a store opens, count what it holds, and tell whether it can be written.

    An SQLite file that does not exist yet is not made.

    Parameters
    ----------
    uri
        The store's URI.
    """
    from stores.connections import open_store, parse_uri

    try:
        place = parse_uri(uri)
        if place.kind == "sqlite" and not Path(place.target).exists():
            return Check("store", Status.OK, f"{place.target} does not exist yet; the first run makes it")
        began = time.monotonic()
        # opening a MongoDB database that holds nothing yet makes nothing there
        with open_store(uri, must_exist=place.kind == "sqlite") as store:
            count = store.count()
            found = f"{store.uri} opens, {counted(count, 'surface')}"
        found += f", answered in {(time.monotonic() - began) * 1000:.0f} ms"
    except MgsurfError as error:
        return Check("store", Status.FAIL, " ".join(str(error).split()), "name another store with --store")
    if place.kind == "sqlite":
        from stores.backends.sqlite_file import SCHEMA_VERSION

        found += f", schema version {SCHEMA_VERSION}"
        if not os.access(place.target, os.W_OK):
            remedy = f"chmod u+w '{place.target}'"
            return Check("store", Status.WARN, f"{found}; it can only be read", remedy)
    return Check("store", Status.OK, found)


def _store_folder_check(uri: str) -> list[tuple[str, Callable[[], Check]]]:
    from stores.connections import parse_uri

    try:
        place = parse_uri(uri)
    except MgsurfError:
        return []  # check_store says what is wrong with it
    if place.kind != "sqlite":
        return []
    return [("store folder", lambda: check_folder("store folder", Path(place.target).parent))]


def worst(checks: list[Check]) -> Status:
    """Return the gravest outcome of a list of checks."""
    order = [Status.OK, Status.WARN, Status.FAIL]
    return max((check.status for check in checks), key=order.index, default=Status.OK)
