"""The Typer application that the modules of `workflows.cli` add their commands to."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand
from typer.models import CommandFunctionType

from stores.errors import MgsurfError
from stores.paths import expand_user

COMPUTE = "Compute"
QUEUE = "Compute on a queue"
LOOK = "Look at results"
LEARN = "Learn and predict"
LOOP = "Close the loop"
SETUP = "Set up and fix"


class Command(TyperCommand):
    """A command whose paths may begin with ``~`` and whose numbers are finite.

    Shells leave ``~`` as it is after ``--output=``. NaN passes every range and every filter.
    """

    def __init__(self, *arguments: Any, floats: frozenset[str] = frozenset(), **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        for parameter in self.params:
            if parameter.name in floats:
                parameter.process_value = functools.partial(  # type: ignore[method-assign]
                    _finite_value, parameter, parameter.process_value
                )

    def invoke(self, ctx: Any) -> Any:
        """Replace ``~`` in every path, then run the command; errors name options that it has."""
        for name, value in ctx.params.items():
            if isinstance(value, Path):
                ctx.params[name] = expand_user(value, name)
            elif isinstance(value, (list, tuple)):
                ctx.params[name] = [
                    expand_user(entry, name) if isinstance(entry, Path) else entry for entry in value
                ]
        try:
            return super().invoke(ctx)
        except MgsurfError as error:
            if "--" in str(error) and error.args == (str(error),):
                from workflows.cli.remedies import commands_of, file_of, fitting_remedy

                root = ctx.find_root()
                name = ctx.command_path.removeprefix(root.command_path).strip()
                error.args = (
                    fitting_remedy(str(error), name, commands_of(root.command), file_of(ctx.params)),
                )
            raise


def _finite_value(parameter: Any, process: Callable[..., Any], context: Any, value: Any) -> Any:
    """Convert what was given for an option of floats, unless it is NaN or infinite."""
    for given in value if isinstance(value, (list, tuple)) else [value]:
        try:
            finite = given is None or math.isfinite(float(given))
        except (TypeError, ValueError):
            continue  # what is no number at all is reported by the conversion
        if not finite:
            raise typer.BadParameter(f"{given!r} is no finite number", ctx=context, param=parameter)
    return process(context, value)


class App(typer.Typer):
    """An application of such commands, which may take dataclasses of options.

    A parameter whose type is a dataclass stands for the options that annotate its fields; the command gets
    one object. Options that belong together are declared, and checked in ``__post_init__``, in one place::

        @dataclass(frozen=True)
        class TableFormat:
            as_json: JsonOption = False
            as_csv: CsvOption = False


        @app.command(rich_help_panel=LOOK)
        def query(filters: SurfaceFilter, shown: TableFormat, store: StoreOption = None) -> int: ...
    """

    def command(
        self, name: str | None = None, **settings: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Declare a command, as `typer.Typer.command` does; the function itself stays as it is."""

        def declare(function: CommandFunctionType) -> CommandFunctionType:
            command = _with_options(function)
            floats = frozenset(n for n, kind in command.__annotations__.items() if float in _parts(kind))
            kind: Any = functools.partial(Command, floats=floats)
            super(App, self).command(name, **{"cls": kind, **settings})(command)
            return function

        return declare


def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that takes the fields of `function`'s dataclasses as options of their own."""
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        group = parameter.annotation
        if not is_dataclass(group):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = group  # type: ignore[assignment]
        hints = get_type_hints(group, include_extras=True)
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(field),
                annotation=hints[field.name],
            )
            for field in fields(group)
        ]

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        made = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return function(**values, **made)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parts(annotation: Any) -> set[Any]:
    """Return the types that an annotation such as ``list[float] | None`` is composed of."""
    arguments = get_args(annotation)
    return {annotation} if not arguments else {part for one in arguments for part in _parts(one)}


def _default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    return inspect.Parameter.empty if field.default_factory is MISSING else field.default_factory()


app = App(
    name="mgsurf",
    help="Surface energies and work functions of Mg intermetallics: from a chemical system to records.",
    epilog="Start with `mgsurf doctor`, then `mgsurf run CAMPAIGN.yaml`.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"mgsurf {version('mgsurf')}")
        except PackageNotFoundError:
            print("mgsurf (not installed)")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
