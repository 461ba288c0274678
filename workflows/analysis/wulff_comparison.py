"""DFT and predicted Wulff shape of one crystal, made of the same slabs: facets, shares of area, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workflows.analysis.wulff_draws import FacetShare, Termination, WeightedValues, weighted_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workflows.structures.crystal import Crystal
    from workflows.structures.facets import Miller


@dataclass(frozen=True)
class PredictedSlab:
    """A termination of a facet with its values by DFT and by a model that did not see them."""

    name: str  # of the slab in its source or store
    dft: Termination  # values of DFT
    predicted: Termination  # values of the model with their standard deviations; same facet and label


@dataclass(frozen=True)
class FacetComparison:
    """A facet by its termination of lowest surface energy, of DFT and of the model."""

    miller_index: Miller  # hkl in the conventional standard cell
    # dft, predicted: the slab that is lowest by DFT, and that which is lowest by the model
    dft: PredictedSlab
    predicted: PredictedSlab
    # area_dft, area_predicted: share of the area of either shape (1); None where there is no shape
    area_dft: float | None
    area_predicted: float | None
    # share of the draws of the predicted values in which the facet is on the shape (1), likewise
    appears: float | None

    @property
    def surface_energy_error(self) -> float:
        """Predicted minus DFT, each of its lowest termination (eV/A^2)."""
        return self.predicted.predicted.surface_energy - self.dft.dft.surface_energy

    @property
    def work_function_error(self) -> float | None:
        """Predicted minus DFT, each of its lowest termination (eV); None if either is unknown."""
        return _difference(self.predicted.predicted.work_function, self.dft.dft.work_function)

    @property
    def same_termination(self) -> bool:
        """Whether model and DFT take the same slab for the lowest."""
        return self.predicted.name == self.dft.name


@dataclass(frozen=True, eq=False)
class ShapeComparison:
    """DFT and predicted Wulff shape of one crystal."""

    formula: str  # of the compound
    crystal: Crystal  # whose conventional standard cell the Miller indices refer to
    model: str  # name of the model
    slabs: tuple[PredictedSlab, ...]  # all terminations
    facets: tuple[FacetComparison, ...]  # one for each family of planes, low indices first
    # dft, predicted: averages over the two shapes; a missing shape has a reason
    dft: WeightedValues
    predicted: WeightedValues
    missing: tuple[str, ...] = ()  # lines about facets that have no DFT value

    @property
    def name(self) -> str:
        """Formula and space group."""
        return f"{self.formula} {self.crystal.spacegroup_symbol}"

    def errors(self) -> dict[str, float | None]:
        """Return mean absolute errors (eV/A^2, eV), over facets and over all slabs; None without values."""
        return {
            "surface_energy_mae_facets": _mean(facet.surface_energy_error for facet in self.facets),
            "work_function_mae_facets": _mean(facet.work_function_error for facet in self.facets),
            "surface_energy_mae_slabs": _mean(
                one.predicted.surface_energy - one.dft.surface_energy for one in self.slabs
            ),
            "work_function_mae_slabs": _mean(
                _difference(one.predicted.work_function, one.dft.work_function) for one in self.slabs
            ),
        }


def compare_shapes(
    formula: str,
    crystal: Crystal,
    slabs: Sequence[PredictedSlab],
    model: str = "",
    *,
    missing: Sequence[str] = (),
) -> ShapeComparison:
    """Build Wulff shapes of a crystal of DFT values and of predicted ones, and compare their facets.

    Of each facet the termination of lowest surface energy counts, separately for DFT and model, as in a
    prediction without DFT. Averages and their uncertainty are those of
    `workflows.analysis.wulff_draws.weighted_values`.

    Parameters
    ----------
    formula
        Of the compound.
    crystal
        Whose conventional standard cell the indices refer to.
    slabs
        All terminations with both values, at least one; one representative index for each family of planes.
    model
        Name of the model.
    missing
        Lines about facets without a DFT value.
    """
    dft = weighted_values(crystal, [one.dft for one in slabs])
    predicted = weighted_values(crystal, [one.predicted for one in slabs])
    shares = [
        {share.termination.miller_index: share for share in values.facets} for values in (dft, predicted)
    ]
    facets = []
    for family in dict.fromkeys(one.dft.miller_index for one in slabs):
        members = [one for one in slabs if one.dft.miller_index == family]
        own, other = (of_family.get(family) for of_family in shares)
        facets.append(
            FacetComparison(
                family,
                min(members, key=lambda one: one.dft.surface_energy),
                min(members, key=lambda one: one.predicted.surface_energy),
                _area(own),
                _area(other),
                None if other is None else other.appears,
            )
        )
    facets.sort(key=lambda facet: _low_first(facet.miller_index))
    return ShapeComparison(
        formula, crystal, model, tuple(slabs), tuple(facets), dft, predicted, tuple(missing)
    )


def _area(share: FacetShare | None) -> float | None:
    return None if share is None else share.area_fraction


def _low_first(plane: Miller) -> tuple[int, int, Miller]:
    h, k, l_ = plane
    return max(map(abs, plane)), sum(map(abs, plane)), (-h, -k, -l_)


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _mean(errors: Iterable[float | None]) -> float | None:
    """Return the mean of the absolute values that are known, None without any."""
    known = [abs(error) for error in errors if error is not None]
    return float(np.mean(known)) if known else None
