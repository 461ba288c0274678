"""Labelled slabs: imported, joined into data sets, split, and where they came from."""
