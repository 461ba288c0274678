from __future__ import annotations

from itertools import pairwise

import pytest

from stores.errors import EngineError, InputError
from tests.engines.pair_engine import FERMI_ENERGY, VACUUM_LEVEL
from tests.flows.conftest import Bench
from workflows.analysis.convergence import fit_thickness
from workflows.flows.convergence import N_THICKNESSES, VACUA, SlabScan, thickness_series


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """One for all scans: they share calculations."""
    bench = Bench(tmp_path_factory.mktemp("scans"))
    (bench.folder / "runs").mkdir()
    return bench


@pytest.fixture
def scan(bench, mgag):
    return lambda **options: SlabScan(bench.context(**options), mgag, (1, 0, 0), termination=0)


def test_thickness_scan_agrees_with_the_fit(scan):
    points = list(scan().points("thickness"))
    assert len(points) == N_THICKNESSES
    assert all(b.setting > a.setting for a, b in pairwise(points))
    # a short-ranged potential: the surfaces do not feel each other beyond its cut-off
    assert points[-1].surface_energy == pytest.approx(points[-2].surface_energy, abs=1e-6)
    fit = fit_thickness(*thickness_series(points[1:]))
    assert fit.surface_energy == pytest.approx(points[-1].surface_energy, abs=1e-6)
    assert fit.residual < 1e-5


def test_vacuum_scan_leaves_a_short_ranged_potential_alone(scan):
    points = list(scan().points("vacuum"))
    assert [p.setting for p in points] == list(VACUA)
    assert len({round(p.surface_energy, 9) for p in points}) == 1
    for point in points[1:]:
        assert point.work_function == pytest.approx(VACUUM_LEVEL + 0.1 - FERMI_ENERGY, abs=1e-3)


@pytest.mark.parametrize("kind", ["k_density", "cutoff"])
def test_settings_are_varied_about_the_engines_own(scan, kind):
    runner = scan()
    own = getattr(runner.context.make_engine().method(), kind)
    points = list(runner.points(kind))
    settings = [p.setting for p in points]
    assert own in settings
    assert settings == sorted(settings)
    # neither enters the pair potential
    assert len({round(p.surface_energy, 9) for p in points}) == 1


def test_a_scan_is_resumed_and_shares_calculations(scan, bench):
    list(scan().points("vacuum"))
    before = bench.executed()
    list(scan().points("vacuum"))
    assert bench.executed() == before
    list(scan().points("thickness"))
    assert set(bench.executed().values()) == {1}


def test_scanned_calculations_are_not_taken_for_those_of_a_campaign(scan, bench, mgag):
    """The bulk of a scan is relaxed at the base settings, so its slabs belong to no other method."""
    from workflows.flows.surface import SurfaceMaker

    points = {p.setting: p for p in scan().points("cutoff")}
    before = bench.executed()
    other = sorted(points)[-1]
    bench.run(SurfaceMaker(bench.context(cutoff=other)).make(mgag, miller_indices=[(1, 0, 0)]))
    new = bench.executed() - before
    assert any("bulk_static MgAg" in line for line in new)
    assert any("bulk_relax MgAg" in line for line in new)


def test_what_does_not_exist_is_named(scan, bench, mgag):
    with pytest.raises(InputError, match="choose from thickness"):
        list(scan().points("colour"))
    with pytest.raises(InputError, match=r"no termination 7; choose from 0 \("):
        list(SlabScan(bench.context(), mgag, (1, 0, 0), termination=7).points("vacuum"))


def test_a_failed_calculation_ends_the_scan_in_one_line(tmp_path, mgag):
    (tmp_path / "runs").mkdir()
    context = Bench(tmp_path).context(fail_on="slab_static")
    with pytest.raises(EngineError, match="failed: failure requested"):
        list(SlabScan(context, mgag, (1, 0, 0)).points("vacuum"))
