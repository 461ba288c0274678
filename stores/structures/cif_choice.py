"""All atoms of a CIF's cell: symmetry operations applied to rounded coordinates, by the setting that fits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from stores.structures.cell import closest_overlap
from stores.structures.contents import Verdict, compare, formula_text
from stores.structures.symbols import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stores.structures.cif_sites import Sites
    from stores.structures.contents import Stated
    from stores.structures.space_groups import Setting, Statement, Symmetry


_SAME = 1e-4  # fractional; added to the rounding
_EXACT = 1e-7  # fractional, after the site was moved onto its special position
_ONE_ATOM = 0.02  # A; images this close are one position whatever the digits
_CLOSE = 0.4  # A; images further apart than this are distinct atoms whatever the digits
_WORTH_NOTING = 1e-5  # fractional; one third written with five digits is not


class OrbitError(ValueError):
    """A site whose images, at most `distance` (A) from it, are neither equal nor distinct."""

    def __init__(self, site: int, distance: float) -> None:
        super().__init__(f"site {site}: images {distance:.2g} A apart fit no special position")
        self.site = site
        self.distance = distance


@dataclass(eq=False, slots=True)
class Orbits:
    """The atoms of a cell: the site [N] that each is an image of, fractional coordinates [N, 3] in [0, 1).

    `moved` has by site index coordinates on the special position, where rounding had put it beside.
    """

    site: NDArray[np.int64]
    fractional: NDArray[np.float64]
    moved: dict[int, NDArray[np.float64]]


def expand(
    positions: NDArray[np.float64],
    rounding: NDArray[np.float64],
    setting: Setting,
    lattice: NDArray[np.float64],
) -> Orbits:
    """Apply a space group to sites; `OrbitError` if no special position fits.

    A site that an operation maps onto itself within the rounding of its coordinates lies on a special
    position; it is moved there, to the mean of these images, before the others are made. `positions` [n, 3]
    are fractional as written, `rounding` [n, 3] their largest errors (one unit of the last digit, 0 where
    exact), `lattice` [3, 3] has vectors as rows (A).
    """
    if setting.is_trivial:
        return Orbits(np.arange(len(positions)), positions, {})
    sites, images, moved = [], [], {}
    changes = np.abs(setting.rotations - np.eye(3, dtype=int))
    for index, (position, slack) in enumerate(zip(positions, rounding, strict=True)):
        offsets = _offsets(position, setting)
        near = np.all(np.abs(offsets) <= changes @ slack + _SAME, axis=1)
        distances = np.linalg.norm(offsets @ lattice, axis=1)
        near = (near & (distances < _CLOSE)) | (distances < _ONE_ATOM)
        special = position + offsets[near].mean(axis=0)
        fixed = np.all(np.abs(_offsets(special, setting)) <= _EXACT, axis=1)
        orbit = _distinct(special @ setting.rotations.transpose(0, 2, 1) + setting.translations)
        shift = special - position
        rounded = np.all(np.abs(shift) <= slack + _SAME) or np.linalg.norm(shift @ lattice) < _ONE_ATOM
        if not rounded or not np.array_equal(fixed, near) or len(orbit) * int(fixed.sum()) != len(fixed):
            raise OrbitError(index, float(distances[near].max()))
        if np.abs(shift).max() > _WORTH_NOTING:
            moved[index] = special
        sites += [index] * len(orbit)
        images.append(orbit)
    return Orbits(np.array(sites, dtype=np.int64), np.concatenate(images), moved)


def _offsets(position: NDArray[np.float64], setting: Setting) -> NDArray[np.float64]:
    """Return the nearest image of a position under each operation, relative to the position: [G, 3]."""
    offsets = setting.rotations @ position + setting.translations - position
    return np.asarray(offsets - np.round(offsets))


def _distinct(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return images that differ, wrapped into the cell, in their order."""
    images = images - np.floor(images)
    images[images > 1 - _EXACT] = 0.0
    offsets = images[:, None] - images[None]
    same = np.all(np.abs(offsets - np.round(offsets)) < 10 * _EXACT, axis=2)
    first = same.argmax(axis=1)
    return np.asarray(images[first == np.arange(len(images))])


_SAME_ATOM = 1e-3  # fractional; atoms of two readings this close are one


@dataclass(eq=False, slots=True)
class _Trial:
    """The atoms that one setting makes of the sites; `problem` is why they cannot be right."""

    setting: Setting
    atoms: Orbits | None = None
    counts: Counter[str] | None = None
    verdict: Verdict = field(default_factory=Verdict)
    problem: str = ""
    overlap: bool = False


def choose_atoms(
    sites: Sites,
    symmetry: Symmetry,
    cell: Sequence[float],
    lattice: NDArray[np.float64],
    stated: Stated,
    where: str,
    notes: list[str],
) -> Orbits:
    """Return the atoms of the cell; `InputError` if no setting fits, or more than one.

    Between settings that a name or number leaves open the cell decides, then formula, Z, density and
    overlaps, then the usual axes, which a note names; two origins that all agree with are refused. Where
    statements of symmetry contradict each other, or the file has none, the number of atoms must be confirmed
    by formula and Z, or by the density.
    """
    used = symmetry.statement
    fitting = used.settings
    if len(fitting) > 1 or not fitting[0].is_trivial:
        fitting = tuple(setting for setting in fitting if setting.fits(cell))
    if not fitting:
        raise InputError(
            f"{where}: {used.source} does not fit the cell ({_cell_text(cell)}): correct the "
            "symmetry, its axes (:H, :R, unique axis) or the cell"
        )
    trials = [_try(sites, setting, lattice, stated) for setting in fitting]
    trial = trials[0] if len(trials) == 1 else _only_one(trials, used, where, notes)
    if symmetry.doubt and trial.verdict.contradiction:
        raise InputError(
            f"{where}: {symmetry.doubt}, and {trial.verdict.contradiction}: add "
            "_space_group_symop_operation_xyz, or correct the name of the space group"
        )
    if trial.problem or trial.atoms is None:
        raise InputError(f"{where}: {trial.problem}")
    if symmetry.doubt or symmetry.others:
        _confirm(trial, symmetry, sites, cell, lattice, stated, where, notes)
    if trial.verdict.doubt:
        notes.append(f"{where}: {trial.verdict.doubt}")
    if trial.atoms.moved:
        notes.append(f"{where}: {_moved(trial.atoms, sites)}")
    return trial.atoms


def _try(sites: Sites, setting: Setting, lattice: NDArray[np.float64], stated: Stated) -> _Trial:
    from ase.data import chemical_symbols

    if setting.is_trivial:
        atoms = Orbits(np.arange(len(sites.numbers)), sites.positions, {})
    else:
        try:
            atoms = expand(sites.positions, sites.rounding(), setting, lattice)
        except OrbitError as error:
            return _Trial(
                setting,
                problem=f"site {sites.label(error.site)} has symmetry images {error.distance:.2g} A apart "
                f"({setting.name}): its coordinates have too few digits for a special position, or the "
                "symmetry's setting (origin, axes) does not fit them; correct either",
            )
    numbers = sites.numbers[atoms.site]
    counts = Counter([chemical_symbols[n] for n in numbers.tolist()])
    verdict = compare(counts, float(lattice[0, 0] * lattice[1, 1] * lattice[2, 2]), stated)
    problem = ""
    overlap = None if setting.is_trivial else closest_overlap(numbers, lattice, atoms.fractional)
    if overlap is not None:
        problem = _overlap(overlap, atoms, sites, setting)
    elif verdict.contradiction:
        problem = f"{verdict.contradiction}: correct the symmetry ({setting.name}), the sites or the formula"
    return _Trial(setting, atoms, counts, verdict, problem, overlap is not None)


def _overlap(overlap: tuple[int, int, float], atoms: Orbits, sites: Sites, setting: Setting) -> str:
    i, j, distance = overlap
    first, second = sorted((int(atoms.site[i]), int(atoms.site[j])))
    if first != second and distance < 0.05:
        return (
            f"overlapping atoms, sites {sites.label(first)} and {sites.label(second)} lie on the same "
            f"position ({setting.name}): keep one of them"
        )
    pair = (
        f"site {sites.label(first)} and its own image"
        if first == second
        else f"images of sites {sites.label(first)} and {sites.label(second)}"
    )
    return (
        f"overlapping atoms, {pair} are {distance:.2f} A apart ({setting.name}): coordinates with too few "
        "digits (0.333 for 1/3), or a setting of the symmetry (origin, axes) that does not fit them; correct "
        "either"
    )


def _only_one(trials: list[_Trial], used: Statement, where: str, notes: list[str]) -> _Trial:
    """Return the setting whose atoms agree with the file; where axes are left open, of those the usual."""
    several_axes = len({trial.setting.axes for trial in trials}) > 1
    left_open = f"{used.source} leaves the {'axes' if several_axes else 'origin'} open"
    good = [trial for trial in trials if not trial.problem]
    if not good:
        reasons = shortened([f"with {trial.setting.name}, {trial.problem}" for trial in trials], 3)
        raise InputError(f"{where}: {left_open}, and no choice fits: {reasons}")
    best = [trial for trial in good if trial.verdict.confirmed] or good
    usual = used.settings[0].axes
    chosen = [trial for trial in best if trial.setting.axes == usual] or best
    first = chosen[0]
    if any(not _same_crystal(first, other) for other in chosen[1:]):
        kinds = shortened([f"{_formula(trial)} ({trial.setting.name})" for trial in chosen], 3)
        raise InputError(
            f"{where}: {left_open}, and the atoms may be {kinds}: name the setting (origin :1 or :2, axes as "
            "in P 1 21/c 1), or add the operators or _chemical_formula_sum and _cell_formula_units_Z"
        )
    rivals = [trial for trial in best if not _same_crystal(first, trial)]
    if several_axes and (rivals or first.setting.axes != usual):
        used_name = first.setting.name + (" (the usual axes)" if first.setting.axes == usual else "")
        against = rivals or [trial for trial in trials if trial.setting.axes == usual]
        add = "; to be sure, add the operators" if rivals else ""
    else:
        used_name, add = first.setting.name, ""
        against = [
            trial for trial in trials if trial not in best and trial.setting.axes == first.setting.axes
        ]
    if against:
        others = shortened([f"{trial.setting.name} gives {_formula(trial)}" for trial in against], 3)
        notes.append(f"{where}: {left_open}: {used_name} used, which gives {_formula(first)} ({others}){add}")
    return first


def _formula(trial: _Trial) -> str:
    if trial.counts is None:
        return "images that overlap"
    return formula_text(trial.counts) + (" with overlapping atoms" if trial.overlap else "")


def _same_crystal(one: _Trial, other: _Trial) -> bool:
    """Whether two readings have the same atoms up to a shift of the origin."""
    if one.atoms is None or other.atoms is None or one.counts != other.counts:
        return False
    starts = np.flatnonzero(other.atoms.site == one.atoms.site[0])
    shifts = one.atoms.fractional[0] - other.atoms.fractional[starts]
    return any(_coincide(one.atoms, other.atoms, shift) for shift in shifts)


def _coincide(
    one: Orbits, other: Orbits, shift: NDArray[np.float64], kinds: NDArray[np.int64] | None = None
) -> bool:
    """Whether each atom of two readings lies on one of the other reading, of the same site or kind."""
    first, second = (o.site if kinds is None else kinds[o.site] for o in (one, other))
    offsets = one.fractional[:, None] - (other.fractional + shift)[None]
    same = np.all(np.abs(offsets - np.round(offsets)) < _SAME_ATOM, axis=2) & (first[:, None] == second[None])
    return bool(same.any(axis=0).all() and same.any(axis=1).all())


def _confirm(
    trial: _Trial,
    symmetry: Symmetry,
    sites: Sites,
    cell: Sequence[float],
    lattice: NDArray[np.float64],
    stated: Stated,
    where: str,
    notes: list[str],
) -> None:
    """Refuse atoms whose symmetry is in doubt and whose number nothing confirms."""
    used = symmetry.statement
    against = []
    for other in symmetry.others:
        readings = [_try(sites, s, lattice, stated) for s in other.settings if s.fits(cell)]
        if not any(
            trial.atoms and r.atoms and _coincide(trial.atoms, r.atoms, np.zeros(3), sites.numbers)
            for r in readings
        ):
            what = " or ".join(_formula(reading) for reading in readings) or "what does not fit the cell"
            against.append(f"{other.source} gives {what}")
    if against and trial.verdict.confirmed:
        notes.append(
            f"{where}: {used.source} used, which gives {_formula(trial)} as formula and Z or density "
            f"require, although {' and '.join(against)}"
        )
    elif against:
        raise InputError(
            f"{where}: {used.source} gives {_formula(trial)}, but {' and '.join(against)}, and "
            "nothing decides: correct the symmetry, or add _chemical_formula_sum and _cell_formula_units_Z"
        )
    elif symmetry.doubt and not trial.verdict.confirmed:
        raise InputError(
            f"{where}: {symmetry.doubt}, and no formula with Z and no density confirms that "
            f"{_formula(trial)} is the whole cell: add _space_group_symop_operation_xyz (x,y,z if all atoms "
            "are listed)"
        )


def _moved(atoms: Orbits, sites: Sites) -> str:
    shown = [
        f"{sites.label(i)} {sites.text(i)} to {' '.join(f'{x:.5f}' for x in position)}"
        for i, position in atoms.moved.items()
    ]
    return f"rounded coordinates moved to the special position: {shortened(shown, 3)}"


def _cell_text(cell: Sequence[float]) -> str:
    a, b, c, alpha, beta, gamma = cell
    return f"a, b, c = {a:g}, {b:g}, {c:g} A; alpha, beta, gamma = {alpha:g}, {beta:g}, {gamma:g} degrees"
