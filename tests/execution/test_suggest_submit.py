"""Suggested slabs on a queue: these and no others, and each once; no runner needed."""

from __future__ import annotations

import json

import pytest

from tests.execution.cluster import PROJECT

CAMPAIGN = """\
name: suggested
compounds:
  - {formula: Mg, facets: ["(0001)", "(10-10)"]}
  - {formula: MgAg, prototype: B2}
engine: {name: gpaw}
store: sqlite:///results.sqlite
"""


@pytest.fixture
def submit(project):
    path = project.folder / "suggested.yaml"
    path.write_text(CAMPAIGN)

    def run(*more):
        return project.mgsurf(
            "suggest", path, "--strategy", "random", *more, "--submit", "--project", PROJECT
        )

    return run


def test_exactly_the_chosen_slabs_are_submitted_and_each_once(submit, project):
    path = project.folder / "suggested.yaml"
    suggested = project.mgsurf("suggest", path, "--strategy", "random", "-n", 3, "--json")
    ours = json.loads(suggested.stdout)["chosen"]
    first = submit("-n", 3)
    assert first.returncode == 0, first.stderr
    assert "submitted 3 slabs" in first.stdout
    assert f"mgsurf pull {path} --project {PROJECT}" in first.stdout

    jobs = [job["job"] for job in project.jobs("suggested")]
    makers = [job["function_args"][0] for job in jobs if "surfaces" in job["name"]]
    chosen = [
        (tuple(plane), key) for maker in makers for slabs in maker["chosen"].values() for plane, key in slabs
    ]
    assert sorted(chosen) == sorted((tuple(one["miller_index"]), one["termination_key"]) for one in ours)
    # a job knows the slabs of its own compound alone
    assert all(len(maker["chosen"]) == 1 for maker in makers)

    again = submit("-n", 3)
    assert again.returncode == 0
    assert "nothing was submitted" in again.stdout
    more = submit("-n", 5)
    assert "3 of the slabs were submitted before" in more.stdout
    assert "submitted 2 slabs" in more.stdout


def test_an_unknown_project_is_one_line_and_the_choice_is_shown(submit, project):
    done = project.mgsurf(
        "suggest", "suggested.yaml", "--strategy", "random", "-n", 1, "--submit", "--project", "clutser"
    )
    assert done.returncode == 2
    assert "no project 'clutser'" in done.stderr
    assert "drawn at random" in " ".join(done.stdout.split())
