"""Wrong bulk energies, recognised by what they do to the surface energies of all facets of a compound.

With N_X partner atoms in a slab of Mg_a X_b, area A on each side,

    gamma = [E_slab - (N_X / b) E_bulk - (N_Mg - a N_X / b) mu_Mg] / (2 A),

so that an error dE of E_bulk (eV per formula unit) shifts the surface energy of each facet by
-dE N_X / (b 2 A): proportional to the formula units per area of its slab (docs/physics.md), and leaves work
functions alone. Chemistry, by contrast, shifts facets by different amounts.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from model.audit.slabs import Peer

    Array = NDArray[np.float64]

SMALLEST_SHIFT = 0.012  # of surface energies that counts (eV/A^2, 0.19 J/m^2)
LEAST_NOISE = 0.004  # peers agree no better than this (eV/A^2): DFT's own scatter along a series
FEWEST_PEERS = 2
CLEAR = 4.0  # a shift of so many standard deviations of the peers among each other is clear
COMMON = 0.3  # facets share a shift if their scatter about it is a smaller part of it
MOST_WORK_FUNCTION = 0.25  # a wrong bulk energy leaves the work functions where they are, up to this (eV)
PROPORTIONAL = 2.5
"""Times that the facets scatter less about a shift in proportion to their formula units than about a constant
one where a wrong bulk energy shows by this alone."""
FEWEST_PROPORTIONAL = 5  # facets from which on that is no chance


@dataclass(frozen=True)
class Offset:
    """A shift that the facets of a compound share."""

    shift: float  # of the surface energies, median over the facets (eV/A^2)
    energy: float  # error of the bulk energy that makes it (eV per formula unit); positive: too high
    scatter: float  # of the facets about ``-energy * units`` (eV/A^2, robust standard deviation)
    constant_scatter: float  # about one common value instead: larger where the proportionality shows
    # robust standard deviation of shifts among comparable compounds, or of the shifts against each of them if
    # that is larger (Pd lies between Ag and Rh) (eV/A^2)
    noise: float
    work_function: float | None  # median difference of the work functions (eV); None where unknown
    facets: int  # how many were compared

    def is_clear(self, sigmas: float = CLEAR) -> bool:
        """Whether it is large (in units of `noise`), shared by the facets, and of surface energies only."""
        size = abs(self.shift)
        return (
            size >= max(SMALLEST_SHIFT, sigmas * self.noise)
            and self.scatter <= COMMON * size
            and (self.work_function is None or abs(self.work_function) <= MOST_WORK_FUNCTION)
        )

    @property
    def is_proportional(self) -> bool:
        """Whether the facets follow the formula units of their slabs, as with a wrong bulk energy."""
        return (
            self.facets >= FEWEST_PROPORTIONAL
            and self.is_clear(1.0)
            and self.scatter <= min(0.1 * abs(self.shift), self.constant_scatter / PROPORTIONAL)
        )


def fit_offset(residuals: Array, units: Array, noise: float, work_function: float | None) -> Offset:
    """Fit ``residual = -energy * units`` with medians.

    residuals [n]: surface energies minus what is expected (eV/A^2); units [n]: formula units of the slab per
    area of both sides (1/A^2).
    """
    slope = float(np.median(residuals / units))
    return Offset(
        shift=float(np.median(slope * units)),
        energy=-slope,
        scatter=robust_deviation(residuals - slope * units),
        constant_scatter=robust_deviation(residuals - np.median(residuals)),
        noise=noise,
        work_function=work_function,
        facets=len(residuals),
    )


def robust_deviation(values: Array) -> float:
    """Return the standard deviation of normal values with the same median absolute deviation."""
    return float(1.4826 * np.median(np.abs(values)))


@dataclass(frozen=True, eq=False)
class PeerComparison:
    """A compound beside its peers."""

    offset: Offset  # of its surface energies
    numbers: tuple[int, ...]  # [n], of its slabs that were compared
    residuals: Array  # [n], their surface energies minus the median of the peers' (eV/A^2)
    peers: tuple[str, ...]  # keys of the peers


def compare_with_peers(
    peers: Mapping[str, Sequence[Peer]], gamma: Array, phi: Array, units: Array
) -> dict[str, PeerComparison]:
    """Compare every compound with its peers; those with a clear offset are nobody's peer the second time.

    gamma, phi and units are [N] of all slabs: labels (NaN where unknown), and formula units per area.
    """
    first = {key: _compare(key, peers, gamma, phi, units, frozenset()) for key in peers}
    wrong = frozenset(key for key, found in first.items() if found is not None and found.offset.is_clear())
    # the clearest alone are left out: next to a wrong compound a sound one looks wrong, too
    kept = frozenset(key for key in wrong if not _explained(key, peers, first, wrong))
    second = {key: _compare(key, peers, gamma, phi, units, kept - {key}) for key in peers}
    return {key: found for key, found in second.items() if found is not None}


def _explained(
    key: str,
    peers: Mapping[str, Sequence[Peer]],
    found: Mapping[str, PeerComparison | None],
    wrong: frozenset[str],
) -> bool:
    """Whether most peers of a compound are wrong themselves, the other way and more clearly."""
    own = found[key]
    assert own is not None
    opposite = 0
    for peer in peers[key]:
        other = found.get(peer.compound)
        if peer.compound in wrong and other is not None and other.offset.shift * own.offset.shift < 0:
            opposite += (
                abs(other.offset.shift) / other.offset.noise > abs(own.offset.shift) / own.offset.noise
            )
    return 2 * opposite > len(peers[key])


def _compare(
    key: str,
    peers: Mapping[str, Sequence[Peer]],
    gamma: Array,
    phi: Array,
    units: Array,
    without: frozenset[str],
) -> PeerComparison | None:
    trusted = [peer for peer in peers[key] if peer.compound not in without]
    by_slab: dict[int, list[tuple[float, float]]] = {}
    for peer in trusted:
        for ours, theirs in peer.pairs:
            if np.isfinite(gamma[ours]) and np.isfinite(gamma[theirs]):
                by_slab.setdefault(ours, []).append((gamma[theirs], phi[theirs]))
    numbers = tuple(sorted(i for i, values in by_slab.items() if len(values) >= FEWEST_PEERS))
    if len(numbers) < 3 or len(trusted) < FEWEST_PEERS:
        return None
    residuals = np.array([gamma[i] - median(value for value, _ in by_slab[i]) for i in numbers])
    differences = [
        phi[i] - median(known)
        for i in numbers
        if np.isfinite(phi[i]) and (known := [value for _, value in by_slab[i] if np.isfinite(value)])
    ]
    names = {peer.compound for peer in trusted}
    mutual = [
        abs(_shift(other, gamma))
        for peer in trusted
        for other in peers[peer.compound]
        if other.compound in names and other.compound not in without
    ]
    mutual = [value for value in mutual if np.isfinite(value)]
    apart = np.array([value for peer in trusted if np.isfinite(value := _shift(peer, gamma))])
    # the scatter of peers that cannot be compared with each other is unknown
    noise = float("inf")
    if mutual:
        noise = max(
            LEAST_NOISE, robust_deviation(np.array(mutual)), robust_deviation(apart - np.median(apart))
        )
    phi_shift = float(np.median(differences)) if differences else None
    offset = fit_offset(residuals, units[list(numbers)], noise, phi_shift)
    return PeerComparison(offset, numbers, residuals, tuple(peer.compound for peer in trusted))


def _shift(peer: Peer, gamma: Array) -> float:
    """Return the median difference to a peer over the facets that both have (eV/A^2)."""
    differences = np.array([gamma[ours] - gamma[theirs] for ours, theirs in peer.pairs])
    known = differences[np.isfinite(differences)]
    return float(np.median(known)) if len(known) else float("nan")
