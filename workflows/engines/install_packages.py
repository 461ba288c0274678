"""Install mgsurf and its Python dependencies into the virtual environment of the running Python.

`make` calls ``python -m workflows.engines.install_packages [EXTRA ...]`` from the repository's root.
Standard library only: this runs before any dependency is there.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

from workflows.engines.pip_runner import (
    environment_lock,
    one_line_errors,
    pinned_environment,
    pip,
    remove_half_installed,
    run_logged,
)


def install(extras: list[str], venv: Path) -> None:
    """Install the repository in the current folder, editable, with its pinned dependencies.

    Parameters
    ----------
    extras
        Extras of pyproject.toml to install too, for example ``["dev"]``.
    venv
        The virtual environment; its log folder takes pip's output.

    Raises
    ------
    stores.errors.EngineError
        If pip fails: no network, full disk, or what pip says; one line.
    """
    with environment_lock(venv) as lock:
        repaired = remove_half_installed(Path(sysconfig.get_path("purelib")))
        if repaired:
            print(f"Repairing an interrupted installation: {', '.join(repaired)}", flush=True)
        wanted = f".[{','.join(extras)}]" if extras else "."
        run_logged(
            pip("install", "-c", "constraints.txt", "-e", wanted),
            f"Installing Python packages{' with ' + ', '.join(extras) if extras else ''}",
            venv / "log" / "packages.log",
            typical="1 to 4 minutes",
            environment=pinned_environment(),
            keep_open=[lock],
        )
        remove_stray_tests(Path(sysconfig.get_path("purelib")))


def remove_stray_tests(site_packages: Path) -> None:
    """Remove a package ``tests`` that came with somebody's wheel: it would hide the repository's folder.

    The wheel of optimade 1.5.0 carries its own tests by mistake.
    """
    if not (site_packages / "tests" / "__init__.py").is_file():
        return
    shutil.rmtree(site_packages / "tests")
    for record in site_packages.glob("*.dist-info/RECORD"):  # else it looks half installed from now on
        lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("tests/")]
        if len(kept) < len(lines):
            record.write_text("".join(kept), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(one_line_errors(lambda: install(sys.argv[1:], Path(sys.prefix))))
