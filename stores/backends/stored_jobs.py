"""jobflow's store of job outputs, whose documents name no code but mgsurf's own and that of its data.

jobflow gives the documents it reads to monty, which imports the module that a ``@module`` in them names and
calls what ``@class`` or ``@callable`` name in it. Whoever can write to a store could so run code in the next
`mgsurf run`; therefore every document is checked before jobflow gets it.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from jobflow import JobStore

from stores.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("stores", "model", "workflows", "jobflow", "pymatgen.core", "pymatgen.electronic_structure")
"""What classes and functions in a document may come from."""

PLAIN = {
    ("datetime", "datetime"),
    ("uuid", "UUID"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("numpy", "array"),
    ("numpy", "generic"),
    ("bson.objectid", "ObjectId"),
}
"""Module and name of what monty reads back by itself, without importing what the document names."""

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class CheckedJobStore(JobStore):
    """A job store that refuses documents which name other modules."""

    def query(self, *args: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:
        """Yield documents as `jobflow.JobStore.query` does; every other reading method goes through here.

        Raises
        ------
        StoreError
            If a document names code that mgsurf does not store.
        """
        for document in super().query(*args, **kwargs):
            check_names(document, f"the job {document.get('uuid')} in {self.docs_store.name}")
            yield document


def check_names(document: Any, where: str) -> None:
    """Refuse a document that names code outside `PACKAGES` and `PLAIN`; none of it is imported.

    Parameters
    ----------
    document
        As JSON gives it.
    where
        For the message.

    Raises
    ------
    StoreError
        Names the module, and the place in the document.
    """
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict):
            if "@module" in value and not _is_known(value):
                name = value.get("@class", value.get("@callable", ""))
                code = f"{str(name)[:60]!r} of the module {str(value['@module'])[:60]!r}"
                raise StoreError(
                    f"{where}: {place or 'it'} names {code}, which mgsurf never stores; not imported. "
                    "Find out who wrote it, then remove the document or restore a copy of the store"
                )
            waiting += [(f"{place}.{key}".strip("."), entry) for key, entry in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [
                (f"{place}[{number}]", entry)
                for number, entry in enumerate(value)
                if isinstance(entry, (dict, list, tuple))
            ]


def _is_known(value: dict[str, Any]) -> bool:
    module, name = value["@module"], value.get("@class", value.get("@callable"))
    if name is None or ("@class" in value and not (module and name)):
        return True  # monty leaves it as it is; jobflow writes so about data that it keeps apart
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    if "@class" in value and (module, name) in PLAIN:
        return True
    inside = any(module == package or module.startswith(f"{package}.") for package in PACKAGES)
    return inside and bool(_NAME.fullmatch(module)) and bool(_NAME.fullmatch(name)) and _is_own(module, name)


def _is_own(module: str, name: str) -> bool:
    """Tell a class or function of a module from what the module imported from elsewhere, such as ``os``."""
    try:
        found: Any = sys.modules.get(module) or import_module(module)
    except ImportError:
        return False
    for part in name.split("."):
        found = getattr(found, part, None)
    origin = getattr(found, "__module__", None)
    return isinstance(origin, str) and origin.split(".")[0] in {package.split(".")[0] for package in PACKAGES}
