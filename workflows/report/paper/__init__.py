"""Figures of the paper at its printed size; `workflows.flows.figures` has their data."""
