"""Run an engine once per calculation, however often it is requested."""

from __future__ import annotations

import errno
import json
import math
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

from stores.connections import open_store
from stores.errors import InputError, MgsurfError
from stores.files import NO_ROOM, FileLock, write_file
from stores.plain import plain_values
from stores.records import (
    CalculationKind,
    CalculationOutput,
    CalculationRecord,
    CalculationStatus,
    Method,
    content_hash,
)
from stores.secrets import masked
from stores.structures.document import structure_from_document
from workflows.engines.protocol import TASK_FILE, revision
from workflows.jobs.progress import Stage, announce
from workflows.structures.naming import chemsys, mg_first_formula

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pymatgen.core import Structure

    from stores.surfaces import SurfaceStore
    from workflows.engines.protocol import Engine
    from workflows.jobs.context import RunContext


LEAST_ROOM = 65_536  # what must still fit on the disk (bytes) for a failure to be blamed on the calculation

RETRIED = "retried_in_run"
"""Key of an output's details: the run that tried an unconverged calculation again, whatever clocks show."""


@dataclass(frozen=True)
class CalculationRequest:
    """A calculation that an engine is to run."""

    kind: CalculationKind  # one of the four calculations
    label: str  # for people
    structure: Structure  # the cell that is computed
    # what distinguishes it from others besides kind and method, as plain values: the bulk as given, facet,
    # termination, layers, mesh; never relaxed coordinates
    identity: dict[str, Any] = field(default_factory=dict)
    cost: float = 0.0  # relative cost for the progress bar

    def id(self, method: Method) -> str:
        """Content hash of kind, identity and the fingerprint of the method for its elements."""
        own = method.for_elements(self.elements)
        return content_hash({"kind": self.kind.value, "identity": self.identity, "method": own.fingerprint})

    @property
    def elements(self) -> list[str]:
        """Chemical symbols, sorted."""
        return sorted({site.specie.symbol for site in self.structure})


def calculate(
    context: RunContext,
    request: CalculationRequest,
    run: Callable[[Engine, Path], CalculationOutput],
) -> CalculationRecord:
    """Return a calculation from the store, or run the engine and store its output.

    Failed calculations are tried again. Unconverged ones are not, unless the context requests it: with the
    same settings they would end the same way.

    Returns
    -------
    CalculationRecord
        Its output's status states whether the numbers may be used. A crash of the engine gives status failed;
        only errors in writing the store are raised.
    """
    engine = context.make_engine()
    request = replace(request, identity={**request.identity, **revision(engine, request.elements)})
    method = engine.method().for_elements(request.elements)
    with open_store(context.store) as store:
        calculation_id = _id_in(store, request, engine.method())
        directory = context.directory(calculation_id)
        known = _known(store, calculation_id, request, context)
        if known is not None:
            return known
        make_directory(directory)
        with _alone_in(directory):
            # another process may have finished it meanwhile
            known = _known(store, calculation_id, request, context)
            if known is not None:
                return known
            note_task(directory, calculation_id, request)
            announce(Stage.STARTED, request.label, cost=request.cost, text=str(directory))
            start = monotonic()
            output = _run_safely(engine, request, run, directory)
            if output.status is CalculationStatus.FAILED:
                _check_room(directory)  # for programs hide a full disk behind errors of their own
            seconds = monotonic() - start
            record = CalculationRecord(
                id=calculation_id,
                kind=request.kind,
                label=request.label,
                formula=mg_first_formula(request.structure.composition),
                chemsys=chemsys(request.structure.composition),
                method=method,
                method_fingerprint=method.fingerprint,
                identity={"kind": request.kind.value, **request.identity},
                output=output.model_copy(
                    update={
                        "directory": str(directory),
                        "wall_time": output.wall_time or seconds,
                        "details": output.details
                        | ({RETRIED: context.run} if context.retry_unconverged else {}),
                    }
                ),
            )
            if not store.add_unless_better(record):
                # another process, where locks do not work, has a better result
                record = store.get_calculation(calculation_id) or record
                output = record.output
    if output.status is not CalculationStatus.OK:
        announce(Stage.PROBLEM, request.label, text=f"{output.status.value}: {output.reason}")
    announce(Stage.FINISHED, request.label, cost=request.cost, seconds=seconds)
    return record


def final_structure(record: CalculationRecord) -> Structure:
    """Return the final structure of a calculation; `InputError` if it has none."""
    if record.output.structure is None:
        raise InputError(f"{record.label}: the record {record.id} holds no structure; run it again")
    return structure_from_document(record.output.structure, f"the structure of record {record.id}")


def _id_in(store: SurfaceStore, request: CalculationRequest, method: Method) -> str:
    """Return the id under which a store has the calculation, else the present one."""
    # they differ in old stores, where ids rested on whole tables of setups, if the table is not the standard
    # one. Looking for them reads every calculation of a folder store, which is why it is done then only.
    present = request.id(method)
    if method.whole_fingerprint == method.family:
        return present
    wanted = {"kind": request.kind.value, "chemsys": chemsys(request.structure.composition)}
    fields = ["id", "identity", "method", "output.status"]
    identity = plain_values({"kind": request.kind.value, **request.identity})
    order = [status.value for status in CalculationStatus]
    found = [
        (order.index(document["output"]["status"]), document["id"] != present, document["id"])
        for document in store.query(wanted, fields, collection="calculations")
        if document["identity"] == identity
        and method.covers(Method.model_validate(document["method"]), request.elements)
    ]
    return min(found)[-1] if found else present


def _known(
    store: SurfaceStore, calculation_id: str, request: CalculationRequest, context: RunContext
) -> CalculationRecord | None:
    record = store.get_calculation(calculation_id)
    if record is None or record.output.status is CalculationStatus.FAILED:
        return None
    unconverged = record.output.status is CalculationStatus.UNCONVERGED
    if unconverged and context.retry_unconverged and record.output.details.get(RETRIED) != context.run:
        return None
    announce(Stage.REUSED, request.label, cost=request.cost)
    if record.output.status is not CalculationStatus.OK:
        announce(Stage.PROBLEM, request.label, text=f"{record.output.status.value}: {record.output.reason}")
    return record


def _run_safely(
    engine: Engine,
    request: CalculationRequest,
    run: Callable[[Engine, Path], CalculationOutput],
    directory: Path,
) -> CalculationOutput:
    """Turn every crash into a failed output: one bad slab must not stop the others."""
    try:
        engine.check_elements(request.elements)
        # read again: an engine may have put anything into its output after it was made
        output = CalculationOutput.model_validate(dict(run(engine, directory)))
        if output.status is CalculationStatus.OK and not math.isfinite(output.energy or 0.0):
            return output.model_copy(
                update={"status": CalculationStatus.FAILED, "reason": f"its energy is {output.energy}"}
            )
        return output
    except MgsurfError as error:
        reason = str(error)
    except OSError as error:
        if error.errno in NO_ROOM:  # nothing can be kept, not even that a calculation failed
            raise
        reason = f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 -- any engine fault ends this calculation alone
        with suppress(FileNotFoundError):  # somebody removed the folder, which may be what went wrong
            (directory / "traceback.txt").write_text(masked(traceback.format_exc()))
        reason = f"{type(error).__name__}: {error} (see {directory / 'traceback.txt'})"
    return CalculationOutput(status=CalculationStatus.FAILED, reason=" ".join(masked(reason).split()))


def note_task(directory: Path, calculation_id: str, request: CalculationRequest) -> None:
    """Write which calculation a folder, named by a hash, belongs to; `mgsurf log` finds it by that."""
    task = {
        "id": calculation_id,
        "kind": request.kind.value,
        "label": request.label,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with suppress(OSError):  # a full disk shows where results are written
        write_file(directory / TASK_FILE, json.dumps(task) + "\n", durable=False, alone=True)


def _check_room(directory: Path) -> None:
    """Raise an `OSError` of `stores.files.NO_ROOM` if nothing more can be written to a folder."""
    # what failed for that reason is no result
    try:
        write_file(directory / ".room", bytes(LEAST_ROOM), alone=True)
        (directory / ".room").unlink()
    except OSError as error:
        if error.errno in NO_ROOM:
            raise OSError(error.errno, error.strerror, str(directory)) from error


def make_directory(directory: Path) -> None:
    """Create a folder; `InputError` in one line where that is impossible."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in NO_ROOM - {errno.EROFS}:
            raise
        raise InputError(
            f"{directory}: cannot be created: {error.strerror}; "
            "choose another work_dir or correct its permissions"
        ) from None


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Wait until no other process works in the folder."""
    # where a file system has no locks, two campaigns on a queue may compute the same at the same moment
    lock = FileLock(directory / ".lock")
    try:
        lock.acquire()
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise InputError(
            f"{directory}: cannot be written: {error.strerror}; "
            "choose another work_dir or correct its permissions"
        ) from None
    try:
        yield
    finally:
        lock.release()
