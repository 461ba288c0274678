"""Run docs/tutorial.ipynb and write its outputs into it.

    python docs/make_tutorial.py

A test runs it as well and compares what the cells print.
"""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


def run() -> nbformat.NotebookNode:
    """Return the notebook with the outputs of a run on this checkout."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=300, record_timing=False, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    return client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)})


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    """Return printed texts and tables of each code cell, figures left out."""
    return [
        "".join(
            output.get("text", "") or output.get("data", {}).get("text/html", "") for output in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


if __name__ == "__main__":
    nbformat.write(run(), NOTEBOOK)
