"""Jobs run at once by a shell, without a queue: QToolKit's shell, for names of jobs as people write them."""

from __future__ import annotations

import re
from typing import Any

from qtoolkit.io.shell import ShellIO


class FrontShell(ShellIO):  # type: ignore[no-untyped-call]
    """A `ShellIO` whose scripts hold job names that no shell stumbles over, such as ``MgAg (110) Ag``."""

    def sanitize_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Replace what a shell would read in a job's name."""
        if "job_name" not in options:
            return options
        return {**options, "job_name": re.sub(r"[^\w.+-]", "_", str(options["job_name"]))}
