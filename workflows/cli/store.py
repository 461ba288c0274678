"""`mgsurf store`: make backups of a store and restore them."""

from __future__ import annotations

from typing import Annotated

import typer

from stores.paths import expand_user
from workflows.cli.typer_app import SETUP, App, app

store_app = App(help="Back up and restore a store.", no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(store_app, name="store", rich_help_panel=SETUP)


def _split(names: list[str], order: str) -> tuple[str | None, str]:
    """Return (store or None, file) of one or two arguments in the order of the usage line."""
    if len(names) > 2:
        raise typer.BadParameter(f"give {order}, not {len(names)} names")
    if len(names) == 1:
        return None, names[0]
    return (names[1], names[0]) if order.startswith("FILE") else (names[0], names[1])


@store_app.command()
def backup(
    names: Annotated[
        list[str], typer.Argument(metavar="[STORE] FILE", help="The store, and the file to write.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace an older backup.")] = False,
) -> int:
    """Copy a store to a file while it is in use, and check the copy.

    Example: [cyan]mgsurf store backup results.sqlite results-monday.sqlite[/cyan]
    """
    from stores.backends.backup import backup as copy
    from stores.connections import resolve_store_uri

    store, file = _split(names, "[STORE] FILE")
    uri = resolve_store_uri(store)
    count = copy(uri, expand_user(file, "FILE").absolute(), replace=force)
    print(f"{count} documents of {uri} are in {file}; mgsurf store restore {file} restores them.")
    return 0


@store_app.command()
def restore(
    names: Annotated[
        list[str], typer.Argument(metavar="FILE [STORE]", help="The backup, and the store to replace.")
    ],
) -> int:
    """Put a backup in the place of a store; the old store stays under a dated name.

    Example: [cyan]mgsurf store restore results-monday.sqlite results.sqlite[/cyan]
    """
    from stores.backends.backup import restore as put_back
    from stores.connections import resolve_store_uri

    store, file = _split(names, "FILE [STORE]")
    uri = resolve_store_uri(store)
    count, old = put_back(expand_user(file, "FILE").absolute(), uri)
    print(f"{uri} holds the {count} documents of {file}.")
    if old is not None:
        print(f"The old store is {old}.")
    return 0
