"""Thin jobflow jobs around engines and analysis."""
