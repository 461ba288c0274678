"""Finished runs whose energy is none, is not converged, or is contradicted by another of their files."""

from __future__ import annotations

import pytest

from stores.records import CalculationStatus, VerdictStatus
from tests.jobs import minimal_vasprun as minimal
from workflows.jobs.ingest.folders import LeftOutError, read_run
from workflows.jobs.ingest.ingest import ingest, plan
from workflows.jobs.ingest.records import surface_of

RELAX = {"NSW": 50, "IBRION": 2, "EDIFFG": -0.02}


def slab(folder, *energies, **settings):
    return read_run(minimal.write(folder / "slab", minimal.slab(*energies, **settings)))


@pytest.mark.parametrize(
    ("tags", "what"),
    [
        ({"ML_LMLFF": True, "ML_MODE": "run"}, "ML_LMLFF = T"),
        ({"ML_LMLFF": True, "ML_ISTART": 2}, "ML_LMLFF = T"),
        ({"ML_LMLFF": ".TRUE.", "ML_MODE": "train", "NSW": 100, "IBRION": 0}, "ML_LMLFF = T"),
        ({"ML_LMLFF": True, "ML_MODE": "refit"}, "ML_LMLFF = T"),
        ({"ML_FF_LMLFF": True}, "ML_FF_LMLFF = T"),
        ({"ML_MODE": "RUN"}, "ML_MODE = RUN"),
        ({"ALGO": "GW0"}, "ALGO = gw0"),
        ({"ALGO": "ACFDTR"}, "ALGO = acfdtr"),
        ({"ALGO": "BSE"}, "ALGO = bse"),
        ({"ALGO": "CHI"}, "ALGO = chi"),
        ({"ALGO": "Eigenval"}, "ALGO = eigenval"),
        ({"ALGO": "Exact"}, "ALGO = exact"),
        ({"ALGO": "None"}, "ALGO = none"),
        ({"IALGO": 2}, "IALGO = 2"),
        ({"ICHARG": 11}, "ICHARG = 11"),
    ],
)
@pytest.mark.parametrize("place", ["incar", "parameters"])
def test_a_run_that_is_no_ground_state_calculation_is_left_out(tmp_path, tags, what, place):
    with pytest.raises(LeftOutError, match=what) as error:
        slab(tmp_path, **{place: tags})
    assert str(tmp_path / "slab") in str(error.value)


@pytest.mark.parametrize(
    ("ibrion", "what"), [(0, "molecular dynamics"), (6, "IBRION = 6"), (44, "IBRION = 44")]
)
def test_a_run_that_moves_atoms_to_another_end_is_left_out(tmp_path, ibrion, what):
    with pytest.raises(LeftOutError, match=what):
        slab(tmp_path, parameters={"IBRION": ibrion, "NSW": 100})


def test_without_ibrion_many_steps_are_molecular_dynamics(tmp_path):
    with pytest.raises(LeftOutError, match="molecular dynamics"):
        slab(tmp_path, parameters={"IBRION": None, "NSW": 100})


@pytest.mark.parametrize(
    "algo", ["Normal", "N", "VeryFast", "Very_Fast", "Fast", "F", "All", "A", "Conjugate", "Damped", "normal"]
)
def test_every_way_to_the_ground_state_is_read(tmp_path, algo):
    assert slab(tmp_path, incar={"ALGO": algo, "ML_LMLFF": False}).output.energy is not None


@pytest.mark.parametrize(
    ("tags", "what"),
    [
        ({"METAGGA": "MBJ"}, "METAGGA = MBJ"),
        ({"METAGGA": "LMBJ "}, "METAGGA = LMBJ"),
        ({"METAGGA": "mbj", "CMBJ": 1.2}, "METAGGA = MBJ"),
        ({"METAGGA": "LIBXC", "LIBXC1": "MGGA_X_TB09"}, "LIBXC1 = MGGA_X_TB09"),
        ({"METAGGA": "LIBXC", "LIBXC1": 208}, "LIBXC1 = 208"),
    ],
)
@pytest.mark.parametrize("place", ["incar", "parameters"])
def test_a_method_without_total_energy_gives_none(tmp_path, tags, what, place):
    output = slab(tmp_path, **{place: tags}).output
    assert output.status is CalculationStatus.FAILED
    assert output.energy is None
    assert "no total energy" in output.reason
    assert what in output.reason


def test_of_two_runs_of_such_a_method_no_value_comes(tmp_path):
    for name, text in (("slab", minimal.slab), ("bulk", minimal.bulk)):
        minimal.write(tmp_path / name, text(incar={"METAGGA": "MBJ"}))
    result = ingest(tmp_path, f"sqlite:///{tmp_path}/results.sqlite")
    (record,) = result.surfaces
    assert record.surface_energy is record.work_function is None
    assert record.verdicts.surface_energy.status is VerdictStatus.FAILED
    assert len(result.problems) == 2


# settings in effect, energies of the steps, force and stress of the last, what is wrong (empty: converged)
RELAXATIONS = [
    ({}, [-7.0, -7.1], 0.01, None, ""),
    ({}, [-7.0, -7.1], 0.05, None, "0.050 eV/A"),
    ({}, [-7.0] * 50, 0.0, None, "NSW = 50"),
    ({"NSW": 2}, [-7.0, -7.1], 0.0, None, "NSW = 2"),
    ({"EDIFFG": 1e-3}, [-7.0, -7.1], 0.0, None, "EDIFFG = 0.001"),
    ({"EDIFFG": 1e-3}, [-7.0, -7.1, -7.1004], 0.3, None, ""),
    ({"EDIFFG": 1e-3}, [-7.0], 0.0, None, "EDIFFG = 0.001"),
    ({"EDIFFG": 1e-3}, [-7.1, -7.0], 0.0, None, "EDIFFG = 0.001"),
    ({"EDIFFG": None}, [-7.0, -7.0001], 0.0, None, "EDIFFG = 1e-05"),
    ({"EDIFFG": None}, [-7.0, -7.0 - 5e-6], 0.0, None, ""),
    ({"EDIFFG": 0.0}, [-7.0, -7.1], 0.0, None, "EDIFFG = 0"),
    ({"ISIF": 3}, [-7.0, -7.1], 0.0, 0.5, ""),
    ({"ISIF": 3}, [-7.0, -7.1], 0.0, 20.0, "20.0 kB"),
    ({"ISIF": 3}, [-7.0, -7.1], 0.0, None, "no stress"),
    ({"ISIF": 3, "PSTRESS": 20.0}, [-7.0, -7.1], 0.0, 20.0, ""),
    ({"ISIF": 4}, [-7.0, -7.1], 0.0, 20.0, ""),
    ({"ISIF": 7}, [-7.0, -7.1], 0.0, -20.0, "20.0 kB"),
    ({"EDIFF": 0.1, "NSW": 0}, [-7.0], 0.0, None, "EDIFF = 0.1"),
    ({"EDIFF": 1e-3, "NSW": 0}, [-7.0], 0.0, None, ""),
    ({"NELM": 2, "NSW": 0}, [-7.0], 0.0, None, "NELM = 2"),
]


@pytest.mark.parametrize(("settings", "energies", "force", "stress", "what"), RELAXATIONS)
def test_without_outcar_the_last_steps_tell_whether_a_run_converged(
    tmp_path, settings, energies, force, stress, what
):
    run = slab(tmp_path, *energies, parameters=RELAX | settings, force=force, stress=stress)
    assert run.output.status is (CalculationStatus.UNCONVERGED if what else CalculationStatus.OK), (
        run.output.reason
    )
    assert what in run.output.reason


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ({"EDIFFG": 1e-3}, CalculationStatus.UNCONVERGED),
        ({"EDIFFG": 0.2}, CalculationStatus.OK),
        ({"IBRION": -1, "EDIFFG": 1e-3}, CalculationStatus.OK),  # the ions rest whatever NSW is
    ],
)
def test_steps_that_incar_wants_count_where_the_echo_names_none(tmp_path, tags, status):
    run = slab(tmp_path, -7.0, -7.1, incar=RELAX | tags)
    assert run.output.status is status
    assert run.is_relaxation is (tags.get("IBRION") != -1)


def test_a_bulk_whose_relaxation_was_stopped_gives_no_accepted_value(tmp_path):
    minimal.write(tmp_path / "slab", minimal.slab())
    minimal.write(tmp_path / "bulk/relax", minimal.bulk(-2.9, -2.95, parameters=RELAX, force=0.4))
    minimal.write(tmp_path / "bulk/static", minimal.bulk())
    (pair,) = plan(tmp_path)[0].pairs
    verdict = surface_of(pair)[0].verdicts.surface_energy
    assert verdict.status is VerdictStatus.UNCONVERGED
    assert "0.400 eV/A" in verdict.reason


def outcar(free: object = -7.0, zero: object = -7.0, fermi: object = "1.0", end: bool = True) -> str:
    timing = " General timing and accounting\n Elapsed time (sec):    10.0\n" if end else ""
    return (
        f" aborting loop because EDIFF is reached\n E-fermi : {fermi}     XC(G=0): -5.0     alpha+bet : -5\n"
        f"  free  energy   TOTEN  = {free:>18} eV\n\n"
        f"  energy  without entropy= {free:>18}  energy(sigma->0) = {zero:>18}\n{timing}"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (outcar(), []),
        (outcar(-7.0004, -6.9996), []),
        (outcar(-7.5, -7.0), ["TOTEN", "-7.000000", "-7.500000", "vasprun.xml", "OUTCAR"]),
        (outcar(-7.0, -7.02), ["energy(sigma->0)", "-7.000000", "-7.020000", "OUTCAR"]),
        (outcar(-8.0, -8.0, end=False), ["TOTEN", "-8.000000"]),
        (outcar(-6.9, -6.9, end=False), []),  # cut off behind its first step
        (outcar("******************"), ["OUTCAR", "TOTEN", "***", "too large for its field"]),
        (outcar("NaN"), ["OUTCAR", "NaN"]),
    ],
)
def test_energies_of_vasprun_and_outcar_are_compared(tmp_path, text, expected):
    folder = minimal.write(tmp_path / "slab", minimal.slab(-6.9, -7.0))
    (folder / "OUTCAR").write_text(text)
    output = read_run(folder).output
    assert (output.status is CalculationStatus.FAILED) is bool(expected), output.reason
    assert all(word in output.reason for word in expected), output.reason


@pytest.mark.parametrize("word", ["********", "NaN", "-Infinity", "Inf"])
@pytest.mark.parametrize("where", ["energy", "force"])
def test_an_energy_or_force_that_is_no_number_is_quoted(tmp_path, word, where):
    output = slab(
        tmp_path, *([word] if where == "energy" else []), **({"force": word} if where == "force" else {})
    ).output
    assert output.status is CalculationStatus.FAILED
    assert output.energy is None
    assert where in output.reason
    assert word in output.reason
    assert ("too large for its field" in output.reason) is ("*" in word)
    assert "\n" not in output.reason


@pytest.mark.parametrize("word", ["********", "NaN", "Infinity"])
@pytest.mark.parametrize("beside", ["", "****", "2.5"])
def test_a_fermi_energy_that_is_no_number_is_quoted(tmp_path, word, beside):
    folder = minimal.write(tmp_path / "slab", minimal.slab(-7.0, fermi=word))
    minimal.write(tmp_path / "bulk", minimal.bulk(fermi=word))
    if beside:
        (folder / "OUTCAR").write_text(outcar(fermi=beside))
    result, _ = plan(tmp_path)
    surface = surface_of(result.pairs[0])[0]
    assert surface.surface_energy is not None
    if beside == "2.5":
        assert surface.fermi_energy == 2.5
        assert result.notes == []
        return
    assert surface.fermi_energy is surface.work_function is None
    reason = surface.verdicts.work_function.reason
    assert "Fermi energy" in reason
    assert word in reason
    assert ("OUTCAR" in reason) is bool(beside)
    (note,) = result.notes
    assert str(folder) in note
    assert "Fermi energy" in note


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        ({"SIGMA": "****"}, "SIGMA"),
        ({"ENMAX": float("nan")}, "ENCUT"),
        ({"NELECT": 9.0}, "charge of +1"),
        ({"NELECT": 11}, "charge of -1"),
    ],
)
def test_settings_that_leave_no_energy_are_named(tmp_path, parameters, what):
    text = minimal.slab(parameters=parameters).replace(' type="string" name="SIGMA"', ' name="SIGMA"')
    minimal.write(tmp_path / "slab", text)
    result, _ = plan(tmp_path)
    (problem,) = result.problems
    assert what in problem
    assert str(tmp_path / "slab") in problem
