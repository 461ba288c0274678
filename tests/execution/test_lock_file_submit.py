"""A campaign with sources on a queue: what its lock file lists is submitted, no more; no runner needed."""

from __future__ import annotations

import json

from monty.json import MontyDecoder

from tests.execution.cluster import PROJECT
from workflows.flows.enumeration.lock_file import read_lock
from workflows.structures.crystal import bulk_key

CAMPAIGN = """\
name: listed
sources:
  - prototypes: [B2]
    partners: [Ag, Cd, Zn]
engine: {name: "tests.engines.pair_engine:PairEngine"}
store: sqlite:///results.sqlite
"""


def crystals_in(value):
    """Yield every structure in nested plain values."""
    if isinstance(value, dict) and value.get("@class") == "Structure":
        yield MontyDecoder().process_decoded(value)
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from crystals_in(item)


def test_the_compounds_of_the_lock_file_are_submitted_and_no_others(project):
    path, lock = project.folder / "listed.yaml", project.folder / "listed.lock.json"
    submit = ("submit", path, "--project", PROJECT)
    path.write_text(CAMPAIGN)
    assert "there is no listed.lock.json with its compounds; run mgsurf enumerate" in project.refused(*submit)
    assert project.mgsurf("enumerate", path, "--workers", 1).returncode == 0

    path.write_text(CAMPAIGN.replace("[Ag, Cd, Zn]", "[Ag, Cd]"))
    line = project.refused(*submit)
    assert f"{lock}: made from other settings (sources[1].partners" in line
    assert "run mgsurf enumerate" in line
    path.write_text(CAMPAIGN)
    whole = lock.read_text()
    lock.write_text(whole[:-100])
    assert "the lock file is damaged" in project.refused(*submit)

    listed = json.loads(whole)
    mgag = next(c for c in listed["compounds"] if c["formula"] == "MgAg")
    mgag["lattice"] = [[x * 1.01 for x in row] for row in mgag["lattice"]]
    lock.write_text(json.dumps(listed))
    assert "compound 1 (MgAg Pm-3m) changed" in project.refused(*submit)
    assert project.jobs() == [], "nothing is submitted before all is clear"

    listed = json.loads(whole)  # one is taken out by hand
    listed["compounds"] = [c for c in listed["compounds"] if c["formula"] != "MgCd"]
    lock.write_text(json.dumps(listed))
    done = project.mgsurf(*submit)
    assert done.returncode == 0, done.stderr
    assert "deleted by hand: MgCd Pm-3m" in done.stderr
    assert "submitted MgAg Pm-3m, MgZn Pm-3m to project cluster" in done.stdout
    bulks = [job["job"] for job in project.jobs("listed") if "bulk" in job["job"]["name"]]
    submitted = [crystal for job in bulks for crystal in crystals_in(job["function_args"])]
    expected = [compound.structure() for compound in read_lock(lock, "x").compounds]
    assert sorted(map(bulk_key, submitted)) == sorted(map(bulk_key, expected))
    assert "nothing was submitted" in project.mgsurf(*submit).stdout
