"""OPTIMADE interface (https://www.optimade.org) of the bulks and slabs of a results store, read only."""
