"""Descriptors of a surface, trees and a Gaussian process on them, and their share beside the network."""
