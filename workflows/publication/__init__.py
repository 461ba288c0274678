"""A citable data set made from one snapshot."""
