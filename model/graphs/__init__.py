"""Slabs as graphs: frame, thickness, neighbours, batches, element features and their cache."""
