"""Faulty labels: what contradicts other labels of the same method."""
