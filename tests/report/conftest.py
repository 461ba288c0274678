"""Surface records as stored, with the published values of MgAg and invented ones of larger compounds."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from stores.records import SurfaceRecord, Verdict, Verdicts
from tests.methods import GPAW_DEMO

EDGE = 3.34


def slab_of(outer, inner, layers=7, edge=EDGE, height=25.0):
    z = (np.arange(layers) - (layers - 1) / 2) * edge / 2 / height + 0.5
    species = [outer if i % 2 == 0 else inner for i in range(layers)]
    coords = [[0.5 * (i % 2), 0.5 * (i % 2), z[i]] for i in range(layers)]
    return Structure(Lattice.tetragonal(edge, height), species, coords)


def potential_of(slab, phi, fermi):
    """A smooth model: wells at the atoms, an exponential step to the vacuum on both sides."""
    height = slab.lattice.c
    z = np.arange(250) * height / 250
    atoms = slab.cart_coords[:, 2]
    outside = np.maximum(atoms.min() - z, z - atoms.max())
    wells = sum(np.exp(-(((z - a) / 0.55) ** 2)) for a in atoms)
    inside = -5.0 - 6.5 * wells
    rise = 1 / (1 + np.exp(-(outside - 1.0) / 0.35))
    return {"z": z.tolist(), "potential": ((phi + fermi) * rise + inside * (1 - rise)).tolist()}


@pytest.fixture(name="make_record")
def fixture_make_record():
    return make_record


def make_record(
    formula="MgAg", chemsys="Ag-Mg", miller=(1, 0, 0), termination=0, label="Mg", gamma=0.0364, phi=3.378,
    slope=-0.0448, dmu=-0.42, spacegroup=221, gamma_verdict=("accepted", ""), phi_verdict=("accepted", ""),
    slab=None,
):  # fmt: skip
    """One document as the store holds it."""
    slab = slab or slab_of("Mg", "Ag")
    elements = chemsys.split("-")
    binary = len(elements) == 2 and dmu is not None
    record = SurfaceRecord(
        id=f"{formula}-{miller}-{termination}", formula=formula, chemsys=chemsys, method=GPAW_DEMO,
        method_fingerprint=GPAW_DEMO.fingerprint, bulk_id=formula,
        provenance={"source": "prototype"}, spacegroup_number=spacegroup, miller_index=miller,
        termination=termination, termination_label=label, termination_key=label, cut=0.0, period=EDGE,
        n_layers=7, n_atoms=len(slab), composition={k: int(v) for k, v in slab.composition.as_dict().items()},
        thickness=10.0, vacuum=15.0, area=11.16, slab=slab.as_dict(verbosity=0),
        relaxed_slab=slab.as_dict(verbosity=0), surface_energy=gamma,
        surface_energy_x_rich=gamma + slope * dmu if binary and gamma is not None else None,
        surface_energy_slope=slope, chemical_potential_window=(dmu, 0.0) if binary else None,
        work_function=phi, fermi_energy=1.2,
        potential=potential_of(slab, phi, 1.2) if phi is not None else None,
        verdicts=Verdicts(
            surface_energy=Verdict(status=gamma_verdict[0], reason=gamma_verdict[1]),
            work_function=Verdict(status=phi_verdict[0], reason=phi_verdict[1]),
        ),
    )  # fmt: skip
    return record.model_dump(mode="json")


@pytest.fixture
def mgag():
    """Shi et al.'s values of MgAg (eV/A^2, eV)."""
    s100, s111 = 1 / (2 * EDGE**2), 1 / (2 * np.sqrt(3) * EDGE**2)
    return [
        make_record(miller=(1, 0, 0), gamma=0.0364, phi=3.378, slope=-s100),
        make_record(
            miller=(1, 0, 0), termination=1, label="Ag", gamma=0.0778, phi=4.304, slope=s100,
            slab=slab_of("Ag", "Mg"),
        ),
        make_record(miller=(1, 1, 0), label="MgAg", gamma=0.0505, phi=4.078, slope=0.0),
        make_record(miller=(1, 1, 1), gamma=0.0537, phi=3.611, slope=-s111),
        make_record(miller=(1, 1, 1), termination=1, label="Ag", gamma=0.0722, phi=3.841, slope=s111),
    ]  # fmt: skip


@pytest.fixture
def magnesium():
    common = {"formula": "Mg", "chemsys": "Mg", "spacegroup": 194, "slope": 0.0, "dmu": None}
    return [
        make_record(miller=(0, 0, 1), gamma=0.0321, phi=3.71, **common),
        make_record(miller=(1, 0, 0), gamma=0.0372, phi=3.62, **common),
    ]


@pytest.fixture
def campaign(mgag, magnesium):
    """A campaign with every kind of rejection."""
    recon = ("reconstructed", "an atom moved 0.71 nearest-neighbour distances (limit 0.5)")
    uneven = ("vacuum_not_flat", "top vacuum slopes by 0.0200 eV/A (limit 0.01)")
    failed = ("failed", "MgPd (110) slab relax: GPAW stopped (out of memory)")
    pd = {"formula": "MgPd", "chemsys": "Mg-Pd", "dmu": -1.1}
    return [
        *magnesium,
        *mgag,
        make_record(miller=(1, 0, 0), gamma=0.042, phi=3.45, slope=-0.049, phi_verdict=uneven, **pd),
        make_record(
            miller=(1, 0, 0), termination=1, label="Pd", gamma=0.149, phi=4.97, slope=0.049,
            gamma_verdict=recon, phi_verdict=recon, **pd,
        ),
        make_record(
            miller=(1, 1, 0), label="MgPd", gamma=None, phi=None, slope=0.0, gamma_verdict=failed,
            phi_verdict=failed, **pd,
        ),
        make_record(
            miller=(1, 1, 1), gamma=-0.004, phi=3.7, slope=-0.028,
            gamma_verdict=("negative", "surface energy -0.0040 eV/A^2 is below 0"), **pd,
        ),
    ]  # fmt: skip


@pytest.fixture
def laves():
    """36 facets of C14 MgZn2, invented but in the usual range."""
    random = np.random.default_rng(7)
    planes = [
        (0, 0, 1),
        (1, 0, 0),
        (1, 1, 0),
        (1, 0, 1),
        (1, 1, 1),
        (2, 0, 1),
        (1, 0, -1),
        (2, -1, 1),
        (2, 1, 1),
    ]
    records = []
    for plane in planes:
        for number in range(4):
            records.append(
                make_record(
                    formula="MgZn2", chemsys="Mg-Zn", spacegroup=194, miller=plane, termination=number,
                    label=["Mg", "Zn", "MgZn-a", "MgZn-b"][number], dmu=-0.31,
                    gamma=float(random.uniform(0.035, 0.085)), phi=float(random.uniform(3.5, 4.4)),
                    slope=float(random.choice([-0.03, -0.015, 0.0, 0.015, 0.03])),
                    gamma_verdict=("reconstructed", "35 % of surface bonds changed (limit 30 %)")
                    if random.uniform() < 0.1 else ("accepted", ""),
                )
            )  # fmt: skip
    return records


@pytest.fixture
def mgag_bulk():
    return Structure(Lattice.cubic(EDGE), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]]).as_dict(verbosity=0)


@pytest.fixture
def laves_bulk():
    return Structure.from_spacegroup(
        "P6_3/mmc",
        Lattice.hexagonal(5.22, 8.57),
        ["Mg", "Zn", "Zn"],
        [[1 / 3, 2 / 3, 0.062], [0, 0, 0], [0.83, 0.66, 0.25]],
    ).as_dict(verbosity=0)
