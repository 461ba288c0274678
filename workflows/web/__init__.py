"""Pages, JSON and an OPTIMADE interface of a results store, read only."""
