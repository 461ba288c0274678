"""mgsurf from Python: slabs of a crystal, stores of records, predictions and Wulff shapes.

    import mgsurf

    for slab in mgsurf.slabs("MgZn2.cif"):
        print(slab.miller_index, slab.termination_label, slab.thickness)
    with mgsurf.open_store("results.sqlite") as store:
        table = store.to_dataframe({"chemsys": "Ag-Mg"})
        shape = mgsurf.wulff(store, "MgAg")

What a function needs is imported when it is called: importing this module takes milliseconds, and only
`predict` needs torch.
"""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from pymatgen.core import Structure

    from stores.surfaces import SurfaceStore
    from workflows.analysis.wulff import WulffResult
    from workflows.structures.slabs import SymmetricSlab

__all__ = ["open_store", "predict", "slabs", "wulff"]


def slabs(
    structure: Structure | str | Path,
    *,
    max_index: int = 1,
    planes: Sequence[str | tuple[int, int, int]] = (),
    min_thickness: float = 10.0,
    vacuum: float = 15.0,
    max_atoms: int | None = 200,
) -> list[SymmetricSlab]:
    """Cut every symmetric slab of a crystal: one for each inequivalent termination of each facet.

    Parameters
    ----------
    structure
        Crystal in any setting, or a CIF or POSCAR file.
    max_index
        Largest absolute Miller index; not used if `planes` are given.
    planes
        Miller indices in the conventional standard cell, such as ``(1, 1, 0)`` or ``"10-10"``.
    min_thickness
        Least distance from the lowest to the highest atom (A).
    vacuum
        Distance between periodic images (A).
    max_atoms
        Leave out larger slabs; None for no limit.

    Returns
    -------
    list of SymmetricSlab
        Each has ``structure``, ``miller_index``, ``termination_label``, ``thickness`` and more. A warning
        names every facet without a slab and why (polar directions have none).

    Raises
    ------
    stores.errors.InputError
        If the file or an argument makes no sense, or no symmetry can be found.
    """
    from pymatgen.core import IStructure

    from workflows.structures.naming import format_plane, parse_miller
    from workflows.structures.slabs import enumerate_slabs

    _check("slabs", "structure", structure, (IStructure, str, Path), "a pymatgen Structure or a file")
    _check("slabs", "max_index", max_index, Integral, "a whole number")
    _check("slabs", "min_thickness", min_thickness, Real, "a length in A")
    _check("slabs", "vacuum", vacuum, Real, "a length in A")
    _check("slabs", "max_atoms", max_atoms, (Integral, type(None)), "a whole number or None")
    _check("slabs", "planes", planes, (list, tuple), 'a list of planes such as ["110"]')
    for plane in planes:
        _check("slabs", "planes", plane, (str, list, tuple), 'a list of planes such as ["110", (1, 0, 0)]')
    if isinstance(structure, (str, Path)):
        from stores.structures.reading import read_structure

        structure = read_structure(Path(structure))
    facets = enumerate_slabs(
        structure,
        max_miller_index=max_index,
        miller_indices=[parse_miller(plane) for plane in planes] or None,
        min_thickness=min_thickness,
        vacuum=vacuum,
        max_atoms=max_atoms,
    )
    for facet in facets:
        if not facet.slabs:
            plane = format_plane(facet.miller_index, facet.spacegroup_number)
            warnings.warn(f"{plane}: {facet.reason}", stacklevel=2)
    return [slab for facet in facets for slab in facet.slabs]


def open_store(uri: str | Path | None = None) -> SurfaceStore:
    """Open an existing store of records.

    Parameters
    ----------
    uri
        ``results.sqlite``, ``sqlite:///FILE``, ``mongodb://HOST/DATABASE`` or ``folder:///FOLDER``; None for
        that of the environment variable MGSURF_STORE, else ``./mgsurf.sqlite``.

    Returns
    -------
    SurfaceStore
        With ``to_dataframe``, ``query``, ``count`` and ``distinct``; a context manager.

    Raises
    ------
    stores.errors.MgsurfError
        If there is no such store, or it cannot be read.
    """
    from stores.connections import open_store as open_existing
    from stores.connections import resolve_store_uri

    return open_existing(resolve_store_uri(None if uri is None else str(uri)), must_exist=True)


def predict(
    slabs: Iterable[SymmetricSlab | Structure],
    model: str | Path | None = None,
    store: str | Path | None = None,
) -> pd.DataFrame:
    """Predict surface energies and work functions of slabs.

    Parameters
    ----------
    slabs
        As `slabs` cuts them, or structures of slabs with their vacuum along c; in a list, also if it is one.
    model
        Folder of a trained model, or ``champion``, ``latest`` or ``v3`` of the registry in `store`; None for
        MGSURF_MODEL, else ``./mgsurf_model``.
    store
        URI of the store whose registry is meant.

    Returns
    -------
    pandas.DataFrame
        One row a slab, in order, indexed by its place in `slabs`: formula, plane, termination, n_atoms, by
        target its value, standard deviation (``_sigma``) and 90 % interval (``_low``, ``_high``) in the
        target's unit (surface energies in eV/A^2, work functions in eV), distance to the training slabs and
        warnings. A structure that is no slab has no row; a warning gives the reason.

    Raises
    ------
    stores.errors.MgsurfError
        If torch is missing, there is no such model, or one of `slabs` is of another type.
    """
    import pandas as pd
    from pymatgen.core import IStructure

    from workflows.cli.learning import require_network

    require_network()
    from model.evaluation.prediction import Candidate, predict_slabs
    from model.graphs.slab_frame import PlainSlab
    from workflows.cli.access import chosen_ensemble
    from workflows.structures.naming import format_plane, mg_first_formula
    from workflows.structures.slabs import SymmetricSlab

    _check("predict", "model", model, (str, Path, type(None)), "a folder, champion or a version such as v3")
    _check("predict", "store", store, (str, Path, type(None)), "the URI of a store")
    if isinstance(slabs, (IStructure, SymmetricSlab, str)) or not hasattr(slabs, "__iter__"):
        raise InputError(f"mgsurf.predict: slabs is of type {type(slabs).__name__}; give a list of slabs")
    ensemble, _ = chosen_ensemble(model, None if store is None else str(store))
    candidates = []
    for place, slab in enumerate(slabs):
        _check(
            "predict", f"slab {place}", slab, (IStructure, SymmetricSlab), "a slab or a pymatgen Structure"
        )
        if isinstance(slab, SymmetricSlab):
            formula = mg_first_formula(slab.oriented_bulk.composition)
            plane = format_plane(slab.miller_index, slab.spacegroup_number)
            frame = PlainSlab.from_structure(slab.structure)
            candidates.append(Candidate(str(place), frame, formula, plane, slab.termination_label))
        else:
            formula = mg_first_formula(slab.composition)
            candidates.append(Candidate(str(place), PlainSlab.from_structure(slab), formula))
    found, refused = predict_slabs(ensemble, candidates)
    for refusal in refused:
        warnings.warn(f"slab {refusal.name}: {refusal.reason}", stacklevel=2)
    values = [f"{target}{end}" for target in ensemble.targets for end in ("", "_sigma", "_low", "_high")]
    columns = ["formula", "plane", "termination", "n_atoms", *values, "distance", "warnings"]
    rows = {}
    for one in found:
        row = {
            "formula": one.formula,
            "plane": one.plane,
            "termination": one.termination,
            "n_atoms": one.n_atoms,
        }
        for target in ensemble.targets:
            low, high = one.interval(target)
            row |= {
                target: one.values[target],
                f"{target}_sigma": one.sigmas[target],
                f"{target}_low": low,
                f"{target}_high": high,
            }
        rows[int(one.name)] = {**row, "distance": one.distance, "warnings": "; ".join(one.warnings)}
    return pd.DataFrame(list(rows.values()), index=list(rows), columns=columns)


def wulff(store: SurfaceStore, formula: str, dmu: float = 0.0, *, bulk_id: str | None = None) -> WulffResult:
    """Build the Wulff shape of a compound from the accepted facets in a store.

    Parameters
    ----------
    store
        As `open_store` opens it.
    formula
        Of the compound, such as ``MgAg``.
    dmu
        Chemical potential of Mg relative to the pure metal (eV): 0 at the Mg-rich end.
    bulk_id
        Which bulk record, where the store holds the compound as several crystals or by several methods.

    Returns
    -------
    WulffResult
        ``facets`` with their ``area_fractions`` and ``surface_energies`` (eV/A^2), the averages
        ``surface_energy`` (eV/A^2) and ``work_function`` (eV), ``shape_factor``; without a shape ``reason``
        says why.

    Raises
    ------
    stores.errors.InputError
        If the store does not hold the compound, or holds it more than once.
    """
    from stores.structures.document import structure_from_document
    from stores.surfaces import SurfaceStore
    from workflows.analysis.wulff import facets_from_records
    from workflows.analysis.wulff import wulff as wulff_shape
    from workflows.structures.naming import mg_first_formula

    _check("wulff", "store", store, SurfaceStore, "what mgsurf.open_store returns")
    _check("wulff", "formula", formula, str, "a formula such as MgAg")
    _check("wulff", "dmu", dmu, Real, "an energy in eV")
    name = mg_first_formula(formula)
    criteria = {"formula": name} if bulk_id is None else {"formula": name, "id": bulk_id}
    bulks = list(store.query(criteria, ["id", "structure", "method_fingerprint"], collection="bulks"))
    if not bulks:
        held = ", ".join(store.distinct("formula")) or "no surfaces"
        wanted = name if bulk_id is None else f"{name} with bulk_id {bulk_id}"
        raise InputError(f"No {wanted} in {store.uri}; it holds {held}.")
    if len(bulks) > 1:
        several = ", ".join(f"{bulk['id']} ({bulk['method_fingerprint']})" for bulk in bulks)
        raise InputError(f"{name} stands {len(bulks)} times in {store.uri}; give bulk_id, one of {several}.")
    (bulk,) = bulks
    records = store.query({"bulk_id": bulk["id"]})
    crystal = structure_from_document(bulk["structure"], f"the bulk {bulk['id']}")
    return wulff_shape(crystal, facets_from_records(records), dmu)


def _check(function: str, argument: str, value: Any, kinds: Any, words: str) -> None:
    """Refuse an argument of another type; a truth value is no number."""
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise InputError(f"mgsurf.{function}: {argument} is of type {type(value).__name__}; give {words}")
