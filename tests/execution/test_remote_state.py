from __future__ import annotations

import pytest

from workflows.execution.remote.status import reason_of

TRACEBACK = """\
Traceback (most recent call last):
  File "jobs.py", line 3, in work
    calculate()
stores.errors.StoreError: The store folder /scratch failed: No space left on device; free some space.
"""
REJECTED = (
    "Remote error: submission failed. SubmissionResult(job_id=None, step_id=None, exit_code=1, stdout='', "
    "stderr='sbatch: error: invalid partition specified: nope\\nsbatch: error: Batch job failed\\n', "
    "status=<SubmissionStatus.FAILED: 'FAILED'>)"
)
KILLED = "The output file was downloaded, but it does not contain the response. The job was likely killed"


SLURM_LIMIT = "slurmstepd: error: *** JOB 12 ON vm CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***"
PBS_LIMIT = "=>> PBS: job killed: walltime 3610 exceeded limit 3600"


def killed(printed):
    return {"state": "FAILED", "error": KILLED, "remote": {"queue_err": printed}}


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"state": "FAILED", "error": TRACEBACK}, "The store folder /scratch failed: No space left on"),
        ({"state": "FAILED", "error": "a\nlib.errors.OddError: odd thing"}, "OddError: odd thing"),
        ({"state": "REMOTE_ERROR", "remote": {"error": REJECTED}}, "the queue rejects it: sbatch: error:"),
        ({"state": "FAILED", "error": "OddError: mongodb://me:Xq7z@h failed"}, "mongodb://me:***@h failed"),
        ({"state": "FAILED", "error": None}, "no reason is known"),
        (killed(SLURM_LIMIT), "stopped at its walltime; mgsurf retry --failed"),
        (killed(PBS_LIMIT), "stopped at its walltime"),
        (killed("Detected 1 oom_kill event"), "killed for want of memory"),
        (killed("*** JOB 1 ON n CANCELLED AT 10:00"), "cancelled in the queue"),
        ({"state": "FAILED", "error": KILLED, "remote": {}}, "likely killed"),
    ],
)
def test_reasons_are_one_telling_line(job, words):
    reason = reason_of(job)
    assert words in reason
    assert "\n" not in reason
    assert len(reason) <= 300


@pytest.mark.parametrize("name", ["InputError", "StoreError", "MgsurfError"])
def test_errors_of_mgsurf_are_shown_without_their_class(name):
    assert reason_of({"state": "FAILED", "error": f"stores.errors.{name}: no such store"}) == "no such store"
