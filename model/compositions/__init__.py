"""Compositions: formulas, element properties, features, images."""
