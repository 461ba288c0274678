"""The universal potential whose energies become descriptors: SevenNet-0, as its package has it.

Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024); trained on relaxations of the Materials Project
(PBE). It runs on the processor, in single precision and one thread, so that a slab has the same numbers
everywhere but for rounding.
"""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.graphs.slab_frame import SlabFrame
from stores.errors import InputError, install_command

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

SEVENNET = "sevennet-0"
WEIGHTS = {SEVENNET: "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth"}
"""By name of a potential: its weights in the folder ``pretrained_potentials`` of the package sevenn."""

VACUUM = 15.0  # between a slab and its image, three times the potential's reach (A)
HCP_MG = (3.19, 5.18)  # lattice parameters a and c of Mg in PBE (A), as the slabs are cut from such crystals


@cache
def weights_file(name: str) -> Path:
    """Return the file of a potential's weights.

    Raises
    ------
    InputError
        If the potential is unknown, or its package or weights are not installed.
    """
    if name not in WEIGHTS:
        raise InputError(f"potential {name!r} is unknown: choose {', '.join(WEIGHTS)}")
    package = importlib.util.find_spec("sevenn")
    if package is None or package.origin is None:
        raise InputError(
            f"this model looks at slabs with the potential {name}, whose package sevenn is not installed: "
            f"{install_command('foundation')} (the extra mgsurf[foundation])"
        )
    path = Path(package.origin).parent / "pretrained_potentials" / WEIGHTS[name]
    if not path.is_file():
        raise InputError(
            f"this version of sevenn has no weights {path.name} of {name}: {install_command('foundation')}"
        )
    return path


@cache
def weights_hash(name: str) -> str:
    """Return a hash of a potential's weights, part of the key of all that is computed with it."""
    return hashlib.sha256(weights_file(name).read_bytes()).hexdigest()[:24]


@dataclass(frozen=True, eq=False)
class Potential:
    """A loaded potential."""

    name: str
    network: Any  # sevenn's AtomGraphSequential
    cutoff: float  # farthest neighbour (A)
    numbers: frozenset[int]  # atomic numbers of the elements that it knows

    def energies(self, frame: SlabFrame) -> NDArray[np.float32]:
        """Return the energies of a slab's N atoms (eV), [N]; InputError for an unknown element."""
        from ase import Atoms
        from ase.data import chemical_symbols

        if unknown := sorted(set(frame.numbers.tolist()) - self.numbers):
            names = ", ".join(chemical_symbols[number] for number in unknown)
            raise InputError(f"The slab holds {names}, which the potential {self.name} does not know.")
        cell = np.zeros((3, 3))
        cell[:2, :2] = frame.cell
        cell[2, 2] = frame.thickness + VACUUM
        return self._call(Atoms(frame.numbers, positions=frame.positions, cell=cell, pbc=True))

    def magnesium(self) -> NDArray[np.float32]:
        """Return the energies of the two atoms in a cell of hcp Mg (eV)."""
        from ase.build import bulk

        return self._call(bulk("Mg", "hcp", *HCP_MG))

    def _call(self, atoms: Atoms) -> NDArray[np.float32]:
        import sevenn._keys as keys
        import torch
        from sevenn.atom_graph_data import AtomGraphData
        from sevenn.train.dataload import unlabeled_atoms_to_graph

        graph = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, self.cutoff))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.no_grad():
                found = self.network(graph)[keys.ATOMIC_ENERGY]
        finally:
            torch.set_num_threads(threads)
        return np.asarray(found.numpy().reshape(-1), dtype=np.float32)


@cache
def load_potential(name: str) -> Potential:
    """Load a potential, once per process; raises InputError if it is not installed or cannot be read."""
    path = weights_file(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of e3nn and torch about each other
        import sevenn._keys as keys
        from sevenn.util import load_checkpoint

        checkpoint = load_checkpoint(str(path))
        network = checkpoint.build_model()
    network.set_is_batch_data(False)
    # the gradient of the energy takes two thirds of the time, and forces helped no prediction
    network._modules.pop("force_output")
    network.eval()
    numbers = frozenset(int(number) for number in checkpoint.config[keys.TYPE_MAP])
    return Potential(name, network, float(checkpoint.config[keys.CUTOFF]), numbers)
