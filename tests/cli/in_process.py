"""The command in this process, for importing torch takes seconds."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

from stores.errors import MgsurfError
from workflows.cli.app import app


def command(*arguments):
    """Run a command: status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = app([*map(str, arguments)], standalone_mode=False, prog_name="mgsurf")
        except MgsurfError as error:
            code = error.exit_code
            print(error, file=sys.stderr)
    return SimpleNamespace(returncode=code or 0, stdout=out.getvalue(), stderr=err.getvalue())
