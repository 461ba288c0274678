"""Campaigns on a queue through jobflow-remote."""
