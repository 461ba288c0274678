"""Ranking of compounds by averages over their Wulff shapes and by their dissolution potentials."""
