"""Figures of the paper: what they are drawn from, and their data."""
