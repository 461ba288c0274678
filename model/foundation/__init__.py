"""What universal interatomic potentials know of a slab, as further descriptors."""
