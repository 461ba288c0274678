"""Mutated inputs to every reader of files and options: ``python -m tests.reliability.fuzz --inputs 20000``.

Commands run in forked children under limits. A fault is exit status 70, a traceback, a child that dies, more
than 20 s or more than 1 GB. The same seed makes the same inputs; ``--only KIND --number N`` repeats one of
them and keeps its files.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.reliability.limits import run_all, run_here
from tests.reliability.targets import all_targets, prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.reliability.limits import Outcome


def fuzz(
    home: Path, inputs: int, seed: int = 1, only: str = "", workers: int = 2
) -> tuple[int, list[tuple[str, Outcome]]]:
    """Run mutated inputs; return how many ran, and the faults with the kind and number of their input."""
    _preload()
    targets = [target for target in all_targets(home) if only in target.name]
    shares = sum(target.share for target in targets)
    chosen = [
        (target, number)
        for target in targets
        for number in range(max(1, round(inputs * target.share / shares)))
    ]
    faults, ran, codes, slowest = [], 0, Counter[tuple[str, object]](), dict[str, float]()
    start = time.monotonic()
    for outcome in run_all([prepared(target, seed, number) for target, number in chosen], workers):
        target, number = chosen[outcome.number]
        ran += 1
        codes[target.name, outcome.code] += 1
        slowest[target.name] = max(outcome.seconds, slowest.get(target.name, 0.0))
        if outcome.fault:
            faults.append((f"{target.name} {number}", outcome))
            print(f"FAULT {target.name} {number}: {outcome.fault}\n  {outcome.output[-1500:]}", flush=True)
    for target in targets:
        ends = {str(code): n for (name, code), n in sorted(codes.items(), key=str) if name == target.name}
        print(f"{target.name}: exit statuses {ends}, slowest {slowest.get(target.name, 0):.1f} s")
    print(f"{ran} inputs in {time.monotonic() - start:.0f} s, {len(faults)} faults")
    return ran, faults


def _preload() -> None:
    """Import what commands import, once for all children."""
    import jobflow  # noqa: F401
    import pymatgen.io.cif  # noqa: F401
    import rich.progress  # noqa: F401

    import model.data.importers  # noqa: F401
    import workflows.cli.app
    import workflows.cli.enumerate
    import workflows.cli.import_labels
    import workflows.cli.ingest
    import workflows.cli.predict
    import workflows.cli.query
    import workflows.cli.refresh
    import workflows.cli.run
    import workflows.cli.slabs
    import workflows.cli.status  # noqa: F401


def _again(home: Path, only: str, number: int, seed: int) -> int:
    """Run one input in this process, its files kept."""
    (target,) = (target for target in all_targets(home) if target.name == only)
    folder = Path(tempfile.mkdtemp(prefix="mgsurf-fuzz-"))
    os.chdir(folder)
    arguments = prepared(target, seed, number)(folder)
    print(f"cd {folder}; mgsurf {' '.join(map(ascii, arguments))[:2000]}")
    code, out, err = run_here(arguments)
    print(f"{out[-2000:]}{err}\nexit status {code}")
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; the exit status is 1 if there are faults."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="one kind of input")
    parser.add_argument("--number", type=int, default=None, help="with --only: this input alone, files kept")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mgsurf-fuzz-") as home:
        if given.number is not None:
            return _again(Path(home), given.only, given.number, given.seed)
        return 1 if fuzz(Path(home), given.inputs, given.seed, given.only, given.workers)[1] else 0


if __name__ == "__main__":
    sys.exit(main())
