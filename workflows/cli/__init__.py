"""The mgsurf command line."""
