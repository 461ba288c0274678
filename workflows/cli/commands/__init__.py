"""One module for each panel of `mgsurf --help`; importing this package declares all commands."""

# isort: off
# in the order of the panels
from workflows.cli.commands import compute as compute
from workflows.cli.commands import queue as queue
from workflows.cli.commands import look as look
from workflows.cli import import_slabs as import_slabs
from workflows.cli import train as train
from workflows.cli import ablate as ablate
from workflows.cli import predict as predict
from workflows.cli import tune as tune
from workflows.cli import simulate as simulate
from workflows.cli import suggest as suggest
from workflows.cli import refresh as refresh
from workflows.cli import schedule as schedule
from workflows.cli import rounds as rounds
from workflows.cli import snapshot as snapshot
from workflows.cli import models as models
from workflows.cli.commands import mend as mend
from workflows.cli import store as store
