"""Tolerances of the symmetry search; light enough for the command line."""

from __future__ import annotations

SYMPREC = 0.01  # distance within which atoms and lattice vectors count as symmetric (A), everywhere in mgsurf

ANGLE_TOLERANCE = 0.5
"""Difference within which angles between lattice vectors count as symmetric beside `SYMPREC` (degrees).

Left to itself, spglib multiplies angles by lengths, and hcp Mg with 0.3 % strain is orthorhombic,
though edges that symmetry makes equal differ by 0.007 A only.
"""

LOOSE_SYMPREC = 0.1
"""Tolerance for structures relaxed elsewhere (A); that of the Materials Project's own space groups.

Files with rounded coordinates or relaxed without symmetry deviate by a few hundredths of an angstrom; bonds
of intermetallics are about 3 A long, so that other phases of a compound differ by several tenths.
"""

MAX_SYMPREC = 0.5
"""Largest tolerance that a user may choose (A); beyond it different sites of a crystal begin to merge."""
