"""The engine GPAW: settings, and the worker process that alone imports gpaw."""
