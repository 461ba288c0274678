"""Figures and tables of surface records."""
