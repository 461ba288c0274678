"""What learning keeps in a store: snapshots, models, candidates, leases and the history of refreshes."""
