"""Methods that records of the tests were made with."""

from stores.records import Method

GPAW_DEMO = Method(
    engine="gpaw",
    preset="demo",
    functional="PBE",
    cutoff=300.0,
    k_density=4.0,
    smearing="fermi-dirac",
    smearing_width=0.1,
    force_tolerance=0.05,
)
