"""What differs between the two versions of VASP that are imitated."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Version:
    """Text and layout of one version.

    ``misnames_energies``: energies of an ionic step stand under wrong names in vasprun.xml. ``pads_names``:
    spaces behind the names of strings there. ``hashes``: labels and hashes on the species line of CONTCAR.
    """

    number: str
    subversion: str
    banner: str
    running: str
    outcar_running: str
    misnames_energies: bool
    pads_names: bool
    hashes: bool


SIX = Version(
    number="6.4.3",
    subversion="19Mar24 (build Jan 01 2024 00:00:00) complex                          parallel ",
    banner=" vasp.6.4.3 19Mar24 (build Jan 01 2024 00:00:00) complex",
    running=" running    1 mpi-ranks, with    1 threads/rank, on    1 nodes",
    outcar_running=" running    1 mpi-ranks, with    1 threads/rank, on    1 nodes",
    misnames_energies=False,
    pads_names=True,
    hashes=True,
)
FIVE = Version(
    number="5.4.4.18Apr17-6-g9f103f2a35",
    subversion="(build Jan 01 2020 00:00:00) complex                          parallel ",
    banner=" vasp.5.4.4.18Apr17-6-g9f103f2a35 (build Jan 01 2020 00:00:00) complex",
    running=" running on    1 total cores",
    outcar_running=" running on    1 total cores",
    misnames_energies=True,
    pads_names=False,
    hashes=False,
)


def chosen() -> Version:
    """Return the version named by ``STAND_IN_VASP_VERSION`` (``5.4.4``; anything else means 6)."""
    return FIVE if os.environ.get("STAND_IN_VASP_VERSION", "6").startswith("5") else SIX
