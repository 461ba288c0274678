"""Commands that close the loop: snapshots of the records, models that were trained on them, what comes next.

Each imports what it needs when it is called, so that `mgsurf --help` and `mgsurf query` start fast.
Panel: `workflows.cli.typer_app.LOOP`.
"""
