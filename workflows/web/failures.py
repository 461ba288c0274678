"""Page of what went wrong, grouped by reason, with the command that fixes each group."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from stores.errors import one_line
from stores.method_names import count_records, rehearsal_filter
from stores.secrets import masked
from stores.verdicts import STATUSES, TARGETS
from workflows.web.pages import PageRouter, query_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import Request

    from stores.surfaces import SurfaceStore

MOST = 1000
"""Calculations without a result that are read, the newest first."""

SHOWN = 12
"""Labels that a group names."""

_VARIABLE = (
    (re.compile(r"(?:/[^\s/()]+)+/?"), "…"),  # paths
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "…"),  # ids
    (re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE), "#"),
)

REMEDIES = (
    (
        re.compile(r"walltime|time limit", re.I),
        "Raise resources.walltime in the campaign file; the calculation resumes from its last geometry.",
    ),
    (
        re.compile(r"memory|oom|sigkill", re.I),
        "Run fewer ranks at once or request more memory (resources.memory_per_cpu).",
    ),
    (
        re.compile(r"not installed|no such (program|file)|command not found|executable", re.I),
        "mgsurf doctor names what is missing on this machine.",
    ),
    (
        re.compile(r"potcar|setup", re.I),
        "mgsurf doctor lists the setups and POTCARs that are found; set PMG_VASP_PSP_DIR or GPAW_SETUP_PATH.",
    ),
    (
        re.compile(r"converge|scf|electronic steps", re.I),
        "Raise engine.options.maxiter; the log shows whether the energy still falls.",
    ),
    (
        re.compile(r"still above|force|ionic", re.I),
        "Raise engine.options.max_steps: the relaxation continues from its last geometry.",
    ),
    (re.compile(r"disk|quota|space left", re.I), "Free some space; finished calculations are kept."),
)
"""What to change before the command is repeated, by words of the reason."""

VERDICT_ADVICE = {
    "unconverged": "A calculation behind the value did not converge; the facet's page has the reason.",
    "negative": "γ < 0 at the rich end: look for a wrong reference or a reconstructed slab (mgsurf audit).",
    "reconstructed": "The surface moved far from the cut one; a thicker slab decides whether that is real.",
    "vacuum_not_flat": "The potential has no plateau: raise slabs.vacuum, or look for a dipole.",
    "asymmetric": "Ingested slabs whose sides differ have no single γ.",
    "inconsistent_settings": "Slab, bulk and reference differ in settings; compute them with one preset.",
    "failed": "A calculation failed, or the engine cannot give the value; the facet's page has the reason.",
}

router = PageRouter()


def pattern_of(reason: str) -> str:
    """Return a reason without what differs between calculations: numbers, paths, ids."""
    for pattern, instead in _VARIABLE:
        reason = pattern.sub(instead, reason)
    return " ".join(reason.split())


def remedy_of(reason: str) -> str:
    """Return what to change before the calculation is repeated; empty if nothing is known."""
    return next((advice for pattern, advice in REMEDIES if pattern.search(reason)), "")


def grouped(problems: Iterable[Mapping[str, Any]], project: str | None = None) -> list[dict[str, Any]]:
    """Group calculations without a result by status and pattern of their reason, the largest group first.

    Parameters
    ----------
    problems
        With ``label``, ``status``, ``reason`` and ``created_at``, the newest first.
    project
        Project of jobflow-remote, for the commands.
    """
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for problem in problems:
        status, reason = str(problem["status"]), one_line(problem["reason"] or "no reason is known")
        key = status, pattern_of(reason)
        if (group := groups.get(key)) is None:
            shown = masked(reason)  # slow: once a group
            group = groups[key] = {
                "status": status,
                "reason": shown,
                "pattern": pattern_of(shown),
                "count": 0,
                "latest": problem["created_at"],
                "labels": [],
                "remedy": remedy_of(shown),
                "commands": commands(status, str(problem["label"]), project),
            }
        group["count"] += 1
        if len(group["labels"]) < SHOWN and problem["label"] not in group["labels"]:
            group["labels"].append(problem["label"])
    return sorted(groups.values(), key=lambda group: (group["status"] != "failed", -group["count"]))


def commands(status: str, label: str, project: str | None) -> list[str]:
    """Return the command that repeats calculations of a group, and the one that shows a log."""
    queue = f" --project {shlex.quote(project)}" if project else ""
    if project:
        again = f"mgsurf retry --failed{queue}"
        if status == "unconverged":
            again = f"mgsurf submit CAMPAIGN.yaml --retry-unconverged{queue}"
    else:
        again = "mgsurf run CAMPAIGN.yaml" + (" --retry-unconverged" if status == "unconverged" else "")
    return [again, f"mgsurf log {shlex.quote(label)}{queue}"]


def failures_data(store: SurfaceStore, project: str | None = None) -> dict[str, Any]:
    """Read calculations without a result and values that were rejected.

    Returns
    -------
    dict
        ``groups`` of calculations, ``total`` of them, ``shown`` that were read, and ``rejected`` values by
        target and verdict; the same of ``rehearsal`` without DFT, empty where nothing was rehearsed.
    """
    was_rehearsed = bool(rehearsal_filter(store, "surfaces", rehearsed=False)) or bool(
        rehearsal_filter(store, "calculations", rehearsed=False)
    )
    return {
        **_failures(store, project, rehearsed=False),
        "rehearsal": _failures(store, project, rehearsed=True) if was_rehearsed else {},
        "_by_dft": dft_query(store),
    }


def _failures(store: SurfaceStore, project: str | None, *, rehearsed: bool) -> dict[str, Any]:
    """Read the failures of rehearsals with a potential, or all others."""
    count = partial(count_records, store, rehearsed=rehearsed)
    statuses = ("failed", "unconverged")
    of_method = rehearsal_filter(store, "calculations", rehearsed=rehearsed)
    bad = {"output.status": {"$in": statuses}, **of_method}
    fields = ["label", "created_at", "output.status", "output.reason"]
    found = store.query(bad, fields, sort={"created_at": -1}, limit=MOST, collection="calculations")
    problems = [
        {
            "label": document["label"],
            "status": document["output"]["status"],
            "reason": document["output"].get("reason") or "",
            "created_at": document["created_at"],
        }
        for document in found
    ]
    rejected = [
        {"target": target, "verdict": verdict, "count": number, "advice": VERDICT_ADVICE.get(verdict, "")}
        for target in TARGETS
        for verdict in STATUSES
        if verdict != "accepted" and (number := count("surfaces", {f"verdicts.{target}.status": verdict}))
    ]
    return {
        "groups": grouped(problems, project),
        "total": sum(count("calculations", {"output.status": status}) for status in statuses),
        "shown": len(problems),
        "by_status": dict(Counter(problem["status"] for problem in problems)),
        "rejected": rejected,
    }


def dft_query(store: SurfaceStore) -> str:
    """Return what makes an address of facets leave out those of rehearsals; empty where there are none."""
    of_method = rehearsal_filter(store, "surfaces", rehearsed=False)
    return "&" + urlencode({"filter": json.dumps(of_method)}) if of_method else ""


def queue_groups(queue: Mapping[str, Any] | None, project: str | None) -> list[dict[str, Any]]:
    """Group the failed jobs of a project by their reason."""
    if not queue:
        return []
    problems = [
        {"label": name, "status": "failed", "reason": reason, "created_at": queue["seen_at"]}
        for state in queue["campaigns"]
        for name, reason in [*state["failed"], *state["calculations"]]
    ]
    return grouped(problems, project)


@router.page("/failures", "failures.html")
def failures(store: SurfaceStore, request: Request) -> dict[str, Any]:
    """Show failures by reason."""
    query_texts(request, ())
    state = request.app.state
    data = failures_data(store, state.project)
    return {**data, "queue": queue_groups(state.queue.latest(), state.project)}
