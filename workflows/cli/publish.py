"""`mgsurf publish`: a snapshot as a citable data set."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stores.errors import pluralize
from workflows.cli.completion import models_and_folders, snapshot_ids
from workflows.cli.console import print_facts, print_note
from workflows.cli.options import JsonOption, QuietOption, StoreOption
from workflows.cli.typer_app import LOOP, app

if TYPE_CHECKING:
    from stores.surfaces import SurfaceStore
    from workflows.publication.datasheet import Audited
    from workflows.publication.model import PublishedModel
    from workflows.publication.terms import Terms

CITED = "Citation"


@dataclass(frozen=True)
class CitationOptions:
    """Who made a data set, what it is called, and under which licence it is given."""

    creator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help='"Name" or "Name <ORCID>" (may be repeated); needed.', rich_help_panel=CITED
        ),
    ] = None
    license: Annotated[
        str,
        typer.Option(
            metavar="SPDX", help="Licence by its SPDX identifier: CC-BY-4.0; needed.", rich_help_panel=CITED
        ),
    ] = ""
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="Else made of the contents.", rich_help_panel=CITED)
    ] = ""
    doi: Annotated[
        str, typer.Option(metavar="DOI", help="Reserved beforehand, e.g. by Zenodo.", rich_help_panel=CITED)
    ] = ""
    data_version: Annotated[
        str, typer.Option(metavar="N.N.N", help="Version of the data set.", rich_help_panel=CITED)
    ] = "1.0.0"

    def terms(self) -> Terms:
        """Return them checked; InputError names the option that is wrong."""
        from workflows.publication.terms import Terms

        return Terms.parse(self.title, self.creator or [], self.license, self.doi, self.data_version)


@app.command(rich_help_panel=LOOP)
def publish(
    name: Annotated[
        str,
        typer.Argument(
            metavar="SNAPSHOT",
            autocompletion=snapshot_ids,
            help="A snapshot, or the beginning of its id that fits it alone.",
        ),
    ],
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="New folder of the data set.")],
    cited: CitationOptions,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=models_and_folders,
            help="Publish this model too: champion, latest, v3 or a folder.",
        ),
    ] = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Audit the labels, and list the findings in the datasheet.")
    ] = False,
    quiet: QuietOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Publish a snapshot as a citable data set: Parquet, CSV, extended XYZ, OPTIMADE, CGCNN, metadata.

    Equal snapshots give equal files. `mgsurf import DIRECTORY` reads it back.

    Example: [cyan]mgsurf publish 3fa9 dataset/ --license CC-BY-4.0 --creator "Ada Lovelace"[/cyan]
    """
    from workflows.cli.access import existing_store
    from workflows.execution.progress_bar import ProgressBar
    from workflows.publication.publish import check_installed, check_target
    from workflows.publication.publish import publish as write

    terms = cited.terms()
    check_target(directory)
    check_installed()
    with existing_store(store) as opened:
        audited = _audit(opened, name, quiet) if audit else None
        published_model = None if model is None else _model(opened, model)
        with ProgressBar(quiet) as bar:
            done = write(
                opened,
                name,
                directory,
                terms,
                model=published_model,
                audited=audited,
                tick=lambda number, total: bar.show("publishing", number, total),
            )
    if as_json:
        print(json.dumps({**asdict(done), "directory": str(directory)}, indent=2))
        return 0
    print_facts(
        [
            ("data set", done.title),
            ("snapshot", done.snapshot),
            ("entries", str(done.entries)),
            (
                "left out",
                f"{pluralize(done.left_out, 'value')} (left_out.csv)" if done.left_out else "nothing",
            ),
            ("folder", f"{directory}: {pluralize(done.files, 'file')}, {done.size / 1e6:.1f} MB"),
        ]
    )
    if done.faults:
        print_note(
            f"{pluralize(done.faults, 'value')} of the snapshot rejected since it was made "
            f"(known_faults.csv); "
            "mgsurf snapshot create makes one without"
        )
    if done.changed:
        print_note(
            f"{pluralize(done.changed, 'record')} changed or removed since the snapshot: published "
            f"without details"
        )
    return 0


def _audit(store: SurfaceStore, name: str, quiet: bool) -> Audited:
    """Audit the labels of the store; return the findings on records of the snapshot."""
    from stores.learning.snapshots import find_snapshot
    from workflows.cli.audit import run_audits
    from workflows.publication.datasheet import Audited

    snapshot = find_snapshot(store, name)
    records = {record for record, _ in snapshot.records}
    methods = {head.method for head in snapshot.heads}
    audits = [one for one in run_audits(store.uri, None, None, (), quiet) if one.method in methods]
    findings = [found.plain() for one in audits for found in one.findings]
    return Audited(
        [one for one in findings if not records.isdisjoint(one["records"])],
        sum(one.compounds for one in audits),
        sum(one.compared for one in audits),
    )


def _model(store: SurfaceStore, name: str) -> PublishedModel:
    from stores.learning.model_card import is_version, or_the_folder
    from workflows.publication.model import model_in_folder, registered_model

    if is_version(name):
        with or_the_folder(name):
            return registered_model(store, name)
    from workflows.cli.learning import require_network

    require_network()
    return model_in_folder(Path(name))
