"""A Slurm job that submits its successor: for clusters without scrontab."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from workflows.execution.schedule import call, has, must

if TYPE_CHECKING:
    from pathlib import Path

    from workflows.execution.schedule import Entry


class SelfSubmitting:
    """A batch script that first submits itself for later, then does its work.

    The successor is submitted before the work begins, so that no failure of the work breaks the chain, and
    waits for this job to end (``singleton``). Removing the script ends the chain in any case.
    """

    name = "sbatch"

    def there(self) -> bool:
        """Say whether jobs can be submitted and looked at."""
        return has("sbatch") and has("squeue") and has("scancel")

    def text(self, entry: Entry) -> str:
        """Return the batch script."""
        path = shlex.quote(str(_script(entry)))
        return "\n".join(
            [
                "#!/bin/bash",
                f"#SBATCH --job-name={entry.name}",
                f"#SBATCH --output={shlex.quote(str(entry.log))}",
                "#SBATCH --open-mode=append",
                *(f"#SBATCH {option}" for option in entry.slurm),
                "#SBATCH --dependency=singleton",
                f"[ -e {path} ] || exit 0  # mgsurf schedule --remove",
                f"sbatch --begin=now+{entry.minutes}minutes {path}",
                entry.shell,
                "",
            ]
        )

    def install(self, entry: Entry) -> str:
        """Write the script and submit it, instead of an older job of its name."""
        path = _script(entry)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(entry), encoding="utf-8")
        _cancel(entry)
        must("sbatch", str(path))
        return f"squeue --me --name {entry.name} shows it; {path} submits itself again"

    def remove(self, entry: Entry) -> bool:
        """Remove the script and cancel its jobs."""
        path = _script(entry)
        found = path.exists()
        path.unlink(missing_ok=True)
        return _cancel(entry) or found


def _script(entry: Entry) -> Path:
    return entry.log.parent / f"{entry.name}.sh"


def _cancel(entry: Entry) -> bool:
    """Cancel the jobs of an entry that wait or run."""
    jobs = must("squeue", "--me", "--noheader", "--format=%i", f"--name={entry.name}").split()
    if jobs:
        call("scancel", *jobs)
    return bool(jobs)
