"""Formation energies by a model of compositions, for compounds of which nothing better is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from model.compositions.formulas import parse_composition, plain_composition
from model.evaluation.prediction import Candidate, predict_compositions
from stores.errors import InputError
from workflows.flows.screening.compounds import BY_COMPOSITION, ENERGY_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from model.training.ensemble import Ensemble
    from workflows.flows.screening.compounds import ScreenedCompound

MOST = 5.0  # above the mean and the standard deviation of all formation energies in eV/atom
DECIMALS = 5  # of predicted energies (eV/atom): later ones depend on what is predicted beside a compound


def energy_target(ensemble: Ensemble, name: str) -> str:
    """Return the target of a model that is a formation energy of compositions (eV/atom).

    Raises
    ------
    InputError
        If it has none, or learned from numeric columns beside the composition, or from energies that are
        not in eV/atom.
    """
    found = [
        target
        for target in ensemble.quantities
        if target in ENERGY_COLUMNS and "composition" in ensemble.kinds.get(target, ())
    ]
    if not found:
        raise InputError(
            f"--composition-model {name}: predicts {', '.join(ensemble.targets)}, no formation energy of "
            "compositions; name a model that mgsurf train --preset mcvn made of one"
        )
    if ensemble.extras:
        raise InputError(
            f"--composition-model {name}: learned from {', '.join(ensemble.extras)} too, which compounds do "
            "not state; train one on compositions alone"
        )
    member = ensemble.members[0]
    place = member.targets.index(found[0])
    usual = max(abs(member.scaler.mean[place]), member.scaler.std[place])
    if usual > MOST:
        raise InputError(
            f"--composition-model {name}: its training labels, about {usual:.3g}, are not in eV/atom; "
            "convert them and train again"
        )
    return found[0]


def with_predicted_energies(
    compounds: Iterable[ScreenedCompound], ensemble: Ensemble, name: str
) -> list[ScreenedCompound]:
    """Return the compounds, those without a formation energy with one by their composition.

    Parameters
    ----------
    compounds
        After `workflows.flows.screening.compounds.with_formation_energies`.
    ensemble
        Predicts a formation energy of compositions.
    name
        Of the model, in the source of the energy.

    Raises
    ------
    InputError
        If the model does not predict that, see `energy_target`.
    """
    target = energy_target(ensemble, name)
    compounds = list(compounds)
    formulas = {
        compound.composition.reduced_formula: compound.composition.get_el_amt_dict()
        for compound in compounds
        if compound.formation_energy is None
    }
    candidates = [
        Candidate(formula, plain_composition(parse_composition(amounts).amounts), formula)
        for formula, amounts in formulas.items()
    ]
    found = {one.name: one for one in predict_compositions(ensemble, candidates)} if candidates else {}
    known = []
    for compound in compounds:
        one = found.get(compound.composition.reduced_formula)
        if compound.formation_energy is None and one is not None and math.isfinite(one.values[target]):
            sigma = one.sigmas[target]
            compound = replace(
                compound,
                formation_energy=round(one.values[target], DECIMALS),
                energy_source=f"{BY_COMPOSITION} {name}",
                energy_sigma=round(sigma, DECIMALS) if math.isfinite(sigma) else None,
                energy_warnings=one.warnings,
            )
        known.append(compound)
    return known
