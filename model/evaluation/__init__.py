"""Errors, calibrated uncertainty and predictions."""
