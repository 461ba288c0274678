"""The engine VASP: inputs, supervision, and readers of its files."""
