"""Running flows: local, with progress and resume."""
