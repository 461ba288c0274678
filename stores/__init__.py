"""Records of surface calculations and the stores that keep them."""
