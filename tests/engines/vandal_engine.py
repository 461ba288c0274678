"""The pair engine, beside somebody who deletes or replaces stores and folders while it computes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stores.records import CalculationOutput
from tests.engines.pair_engine import PairEngine


def _replace(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def _write_over(path: Path) -> None:
    """As ``cp backup.sqlite results.sqlite`` does: the file stays, its content changes."""
    path.write_bytes(path.with_name("backup.sqlite").read_bytes())


def _fill(path: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _move(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def _remake(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def _file(path: Path) -> None:
    shutil.rmtree(path)
    path.touch()


def _delete_calculation(path: Path) -> None:
    """The folder of the calculation that runs, and with it what the engine writes next."""
    newest = max((folder for folder in path.iterdir() if folder.is_dir()), key=lambda f: f.stat().st_mtime)
    shutil.rmtree(newest)
    (newest / "vasprun.xml").read_text()


DEEDS: dict[str, Callable[[Path], Any]] = {
    "delete": Path.unlink,
    "truncate": lambda path: os.truncate(path, 0),
    "cut": lambda path: os.truncate(path, 4096),
    "replace": _replace,
    "write over": _write_over,
    "full": _fill,
    "move": _move,
    "rmtree": shutil.rmtree,
    "remake": _remake,
    "file": _file,
    "delete calculation": _delete_calculation,
}


@dataclass
class VandalEngine(PairEngine):
    """Does a deed of `DEEDS` to a path at the end of its calculation number `at`."""

    victim: str = ""
    deed: str = ""
    at: int = 0

    def _do(self, *arguments: Any) -> CalculationOutput:
        output = super()._do(*arguments)
        if len(Path(self.log).read_text().splitlines()) == self.at:
            DEEDS[self.deed](Path(self.victim))
        return output
