"""One module for each panel of `mgsurf --help`; importing this package declares all commands."""

# isort: off
# in the order of the panels
from workflows.cli.commands import compute as compute
from workflows.cli.commands import queue as queue
from workflows.cli.commands import look as look
from workflows.cli.commands import learn as learn
from workflows.cli.commands import loop as loop
from workflows.cli.commands import unattended as unattended
from workflows.cli.commands import mend as mend
from workflows.cli import screen as screen
from workflows.cli import store as store
