"""Records of finished VASP calculations."""
