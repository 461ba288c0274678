"""Universal interatomic potentials in place of DFT, for rehearsals."""
