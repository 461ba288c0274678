"""Flows: one compound, one campaign."""
