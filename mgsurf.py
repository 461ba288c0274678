"""mgsurf from Python: slabs of a crystal, stores of records, predictions, Wulff shapes and figures.

    import mgsurf

    for slab in mgsurf.slabs("MgZn2.cif"):
        print(slab.miller_index, slab.termination_label, slab.thickness)
    with mgsurf.open_store("results.sqlite") as store:
        table = store.to_dataframe({"chemsys": "Ag-Mg"})
        shape = mgsurf.wulff(store, "MgAg")
        mgsurf.plot("phase", store, "MgAg").figure.savefig("phase.png")

Heavy packages are imported when a function is called: importing this module takes milliseconds, and only
`predict` needs torch. docs/tutorial.ipynb shows it all on a small store.
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
    from matplotlib.axes import Axes
    from pymatgen.core import Structure

    from stores.surfaces import SurfaceStore
    from workflows.analysis.wulff import WulffResult
    from workflows.structures.slabs import SymmetricSlab

__all__ = ["crystal", "open_store", "plot", "predict", "slabs", "wulff"]


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
    from workflows.structures.slabs import SlabSettings, enumerate_slabs

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
    settings = SlabSettings(
        max_miller_index=max_index, min_thickness=min_thickness, vacuum=vacuum, max_atoms=max_atoms
    )
    indices = [parse_miller(plane) for plane in planes] or None
    facets = enumerate_slabs(structure, settings, miller_indices=indices)
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
        ``results.sqlite``, ``sqlite:///FILE``, ``mongodb://HOST/DATABASE``, ``folder://FOLDER`` or the path
        of a folder store; None for that of the environment variable MGSURF_STORE, else ``./mgsurf.sqlite``.

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

    if uri is not None and "://" not in str(uri) and Path(uri).is_dir():
        uri = f"folder://{Path(uri).absolute()}"
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
    from model.evaluation.prediction import Candidate, plain_structure, predict_slabs
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
            candidates.append(Candidate(str(place), plain_structure(slab, ensemble), formula))
    found, refused = predict_slabs(ensemble, candidates)
    for refusal in refused:
        warnings.warn(f"slab {refusal.name}: {refusal.reason}", stacklevel=2)
    values = [f"{target}{end}" for target in ensemble.quantities for end in ("", "_sigma", "_low", "_high")]
    classes = [
        column
        for target, names in ensemble.class_names.items()
        for column in (target, *(f"{target}_p_{name}" for name in names))
    ]
    columns = ["formula", "plane", "termination", "n_atoms", *values, *classes, "distance", "warnings"]
    rows = {}
    for one in found:
        row = {
            "formula": one.formula,
            "plane": one.plane,
            "termination": one.termination,
            "n_atoms": one.n_atoms,
        }
        for target, shares in one.classes.items():
            row |= {target: next(iter(shares)), **{f"{target}_p_{name}": p for name, p in shares.items()}}
        for target in ensemble.quantities:
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
        Chemical potential of Mg, without Mg of the less electronegative element, relative to the pure metal
        (eV): 0 at the Mg-rich end.
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
        If the store does not hold the compound, or holds it more than once, or `dmu` lies outside the window
        of the chemical potential.
    """
    from workflows.analysis.wulff import chemical_potential, facets_from_records
    from workflows.analysis.wulff import wulff as wulff_shape

    _check("wulff", "dmu", dmu, Real, "an energy in eV")
    bulk = _bulk("wulff", store, formula, bulk_id)
    records = list(store.query({"bulk_id": bulk["id"]}))
    at = chemical_potential(records, float(dmu)).dmu if records else 0.0
    return wulff_shape(_structure(bulk), facets_from_records(records, at), at)


def crystal(store: SurfaceStore, formula: str, *, bulk_id: str | None = None) -> Structure:
    """Return the relaxed bulk crystal of a compound in a store: its conventional standard cell.

    Parameters and errors as for `wulff`.
    """
    return _structure(_bulk("crystal", store, formula, bulk_id))


def plot(
    kind: str,
    store: SurfaceStore,
    surfaces: str | dict[str, Any],
    *,
    dmu: float = 0.0,
    ax: Axes | None = None,
) -> Axes:
    """Draw surfaces of a store, as ``mgsurf plot`` does.

    Parameters
    ----------
    kind
        ``phase`` (surface energies over the chemical potential), ``scatter`` (work function against surface
        energy), ``wulff`` (Wulff shape) or ``potential`` (planar potential of one surface).
    store
        As `open_store` opens it.
    surfaces
        Formula of a compound, or a MongoDB filter as for ``store.query``.
    dmu
        Chemical potential of Mg relative to the pure metal (eV), for ``wulff``: 0 at the Mg-rich end; see
        `wulff`.
    ax
        Axes to draw on, for ``wulff`` three-dimensional ones; a new figure if None.

    Returns
    -------
    matplotlib.axes.Axes
        The axes of the figure (``.figure``); without `ax` it may have further axes beside them.

    Raises
    ------
    stores.errors.InputError
        If there is no such kind, no surface passes, or the figure cannot be drawn of those that do.
    """
    from stores.surfaces import SurfaceStore
    from workflows.report.phase import chemical_potential_figure
    from workflows.report.potential import potential_figure
    from workflows.report.scatter import scatter_figure
    from workflows.report.wulff import wulff_figure
    from workflows.structures.naming import mg_first_formula

    _check("plot", "kind", kind, str, "phase, scatter, wulff or potential")
    _check("plot", "store", store, SurfaceStore, "what mgsurf.open_store returns")
    _check("plot", "surfaces", surfaces, (str, dict), "a formula or a filter")
    _check("plot", "dmu", dmu, Real, "an energy in eV")
    criteria = {"formula": mg_first_formula(surfaces)} if isinstance(surfaces, str) else surfaces
    records = list(store.query(criteria))
    if not records:
        held = ", ".join(store.distinct("formula")) or "no surfaces"
        raise InputError(f"No surface in {store.uri} passes {surfaces!r}; it holds {held}.")
    if kind == "phase":
        figure = chemical_potential_figure(records, ax=ax)
    elif kind == "scatter":
        figure = scatter_figure(records, ax=ax)
    elif kind == "wulff":
        bulk = _bulk("plot", store, records[0]["formula"], str(records[0]["bulk_id"]))
        figure = wulff_figure(records, bulk["structure"], float(dmu), ax=ax)
    elif kind == "potential":
        if len(records) > 1:
            raise InputError(f"mgsurf.plot: a potential is of one surface, {len(records)} pass {surfaces!r}.")
        figure = potential_figure(records[0], ax=ax)
    else:
        raise InputError(f"mgsurf.plot: there is no kind {kind!r}; give phase, scatter, wulff or potential.")
    return figure.axes[0] if ax is None else ax


def _bulk(function: str, store: SurfaceStore, formula: str, bulk_id: str | None) -> dict[str, Any]:
    """Return the one bulk document of a compound."""
    from stores.surfaces import SurfaceStore
    from workflows.structures.naming import mg_first_formula

    _check(function, "store", store, SurfaceStore, "what mgsurf.open_store returns")
    _check(function, "formula", formula, str, "a formula such as MgAg")
    name = mg_first_formula(formula)
    criteria = {"formula": name} if bulk_id is None else {"formula": name, "id": bulk_id}
    bulks = list(store.query(criteria, ["id", "structure", "method_fingerprint"], collection="bulks"))
    if not bulks:
        held = ", ".join(store.distinct("formula")) or "no surfaces"
        wanted = name if bulk_id is None else f"{name} with bulk_id {bulk_id}"
        raise InputError(f"No {wanted} in {store.uri}; it holds {held}.")
    if len(bulks) > 1:
        several = ", ".join(f"{bulk['id']} ({bulk['method_fingerprint']})" for bulk in bulks)
        raise InputError(
            f"{name} is stored {len(bulks)} times in {store.uri}; give bulk_id, one of {several}."
        )
    return bulks[0]


def _structure(bulk: dict[str, Any]) -> Structure:
    from stores.structures.document import structure_from_document

    return structure_from_document(bulk["structure"], f"the bulk {bulk['id']}")


def _check(function: str, argument: str, value: Any, kinds: Any, words: str) -> None:
    """Refuse an argument of another type; a truth value is no number."""
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise InputError(f"mgsurf.{function}: {argument} is of type {type(value).__name__}; give {words}")
