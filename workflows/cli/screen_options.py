"""Options of `mgsurf screen`: what is screened, under which conditions, and how it is ranked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from stores.errors import InputError
from workflows.cli.options import short_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.training.ensemble import Ensemble
    from stores.learning.screenings import ScreeningRecord
    from workflows.flows.screening.ranking import Application, Sort
    from workflows.flows.screening.screening import ScreeningSettings
    from workflows.structures.sources.local import PrototypeSource

_prototypes_option = partial(typer.Option, rich_help_panel="Prototypes")
COMPOSITIONS = "Compositions"
RANKING = "Ranking"
_ranking_option = partial(typer.Option, rich_help_panel=RANKING)
_conditions_option = partial(typer.Option, rich_help_panel="Conditions")


@dataclass(frozen=True)
class ScreeningConditions:
    """Chemical potential, dissolution and uncertainty of a screening."""

    max_index: Annotated[int, _conditions_option(min=1, max=5, help="Largest Miller index.")] = 1
    dmu: Annotated[
        float,
        _conditions_option(
            metavar="EV",
            max=0.0,
            help="Chemical potential of Mg relative to its metal (eV, negative); 0, Mg-rich, by default. "
            "Without Mg: of the less electronegative element.",
        ),
    ] = 0.0
    x_rich: Annotated[bool, _conditions_option("--x-rich", help="At the X-rich end.")] = False
    draws: Annotated[
        int,
        _conditions_option(min=2, max=10_000, metavar="N", help="Draws of the facet values."),
    ] = 200
    concentration: Annotated[float, _conditions_option(metavar="MOL/L", help="Of dissolved cations.")] = 1e-6
    temperature: Annotated[float, _conditions_option(metavar="K", help="Of the solution.")] = 298.15
    ion: Annotated[
        list[str] | None,
        _conditions_option(
            "--ion",
            metavar="EL=CHARGE",
            help="Cation formed, such as Fe=2 (may be repeated); else the one of lowest potential.",
        ),
    ] = None

    def settings(self) -> ScreeningSettings:
        """Return the settings; an InputError names a condition that makes no sense."""
        from workflows.analysis.dissolution import dissolution, parse_ions
        from workflows.flows.screening.screening import ScreeningSettings

        if self.x_rich and self.dmu:
            raise InputError("--dmu and --x-rich exclude each other; choose one")
        charges = parse_ions(self.ion or ())
        dissolution({}, None, concentration=self.concentration, temperature=self.temperature)
        return ScreeningSettings(
            max_index=self.max_index, dmu=self.dmu, x_rich=self.x_rich, draws=self.draws,
            concentration=self.concentration, temperature=self.temperature, charges=charges,
        )  # fmt: skip


@dataclass(frozen=True)
class DecoratedPrototypes:
    """Structure types that are screened beside, or instead of, the inputs."""

    formula: Annotated[
        list[str] | None,
        _prototypes_option(
            metavar="FORMULA",
            callback=short_number,
            help="In all structure types that fit, or those of --prototype (may be repeated).",
        ),
    ] = None
    partner: Annotated[
        list[str] | None,
        _prototypes_option(
            metavar="EL", help="Mg and this element, both ways round, in those types (may be repeated)."
        ),
    ] = None
    prototype: Annotated[
        list[str] | None,
        _prototypes_option(
            metavar="SYMBOL", help="Strukturbericht symbol: B2, C14 (may be repeated); else all."
        ),
    ] = None

    def source(self) -> PrototypeSource | None:
        """Return the source of the crystals; an InputError names a prototype that is unknown."""
        if not (self.formula or self.partner or self.prototype):
            return None
        if not (self.formula or self.partner):
            raise InputError(
                f"--prototype {self.prototype[0] if self.prototype else ''}: name compounds by --formula "
                "MgZn2 or partners of Mg by --partner Zn"
            )
        from workflows.structures.sources.local import PrototypeSource

        return PrototypeSource(self.formula or (), self.partner or (), self.prototype or None)


@dataclass(frozen=True)
class CompositionOptions:
    """Compositions without crystals, and formation energies by composition."""

    composition: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMULA",
            callback=short_number,
            help="Without a crystal: dissolution potential only (may be repeated). A CSV file of formulas "
            "among the inputs is the same.",
            rich_help_panel=COMPOSITIONS,
        ),
    ] = None
    composition_model: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Model of compositions whose formation energies fill what DFT, lock files and "
            "--formation-energies leave open.",
            rich_help_panel=COMPOSITIONS,
        ),
    ] = None

    def stated(self) -> list[str]:
        """Return the formulas; lines on stderr report what was assumed in reading them."""
        from model.compositions.formulas import parse_composition
        from workflows.cli.console import print_note

        for text in self.composition or ():
            with suppress(InputError):  # `compounds_of` reports it
                if note := parse_composition(text).note:
                    print_note(f"{text}: {note}")
        return self.composition or []

    def load(self, store: str | None) -> tuple[Ensemble, str] | None:
        """Load the model and return it with its name; an InputError if it predicts no formation energy."""
        if self.composition_model is None:
            return None
        from workflows.cli.access import chosen_ensemble
        from workflows.flows.screening.composition_energies import energy_target

        ensemble, name = chosen_ensemble(self.composition_model, store)
        energy_target(ensemble, name)
        return ensemble, name


@dataclass(frozen=True)
class RankingOptions:
    """Which screened compounds are shown, and in which order."""

    application: Annotated[
        str | None,
        _ranking_option(
            metavar="NAME",
            help="corrosion, emitter, cathode or photocatalyst: keep what meets its criterion.",
        ),
    ] = None
    min_potential: Annotated[
        float | None, typer.Option(metavar="V", rich_help_panel=RANKING, help="Against SHE.")
    ] = None
    max_potential: Annotated[
        float | None, typer.Option(metavar="V", rich_help_panel=RANKING, help="Against SHE.")
    ] = None
    min_work_function: Annotated[
        float | None, typer.Option(metavar="EV", rich_help_panel=RANKING, help="Wulff-weighted.")
    ] = None
    max_work_function: Annotated[
        float | None, typer.Option(metavar="EV", rich_help_panel=RANKING, help="Wulff-weighted.")
    ] = None
    max_surface_energy: Annotated[
        float | None, typer.Option(metavar="EV/A2", rich_help_panel=RANKING, help="Wulff-weighted.")
    ] = None
    sort: Annotated[
        str | None,
        _ranking_option(
            metavar="COLUMN",
            help="formula, potential, work_function or surface_energy; -COLUMN sorts downwards.",
        ),
    ] = None
    limit: Annotated[int | None, _ranking_option(min=1, metavar="N", help="Show the first N.")] = None

    def ranked(self, records: Sequence[ScreeningRecord]) -> list[ScreeningRecord]:
        """Filter and sort screened compounds."""
        from workflows.flows.screening.ranking import Range, rank

        application, sort, descending = self.checked()
        return rank(
            records,
            application=application,
            potential=Range(self.min_potential, self.max_potential),
            work_function=Range(self.min_work_function, self.max_work_function),
            surface_energy=Range(None, self.max_surface_energy),
            sort=sort,
            descending=descending,
        )

    def checked(self) -> tuple[Application | None, Sort | None, bool]:
        """Return application, column and direction; an InputError names one that is unknown."""
        from workflows.flows.screening.ranking import Application, Sort

        name = (self.sort or "").removeprefix("-")
        if self.application is not None and self.application not in list(Application):
            raise InputError(f"--application {self.application}: choose one of {', '.join(Application)}")
        if name and name not in list(Sort):
            raise InputError(f"--sort {name}: choose one of {', '.join(Sort)}")
        return (
            Application(self.application) if self.application else None,
            Sort(name) if name else None,
            (self.sort or "").startswith("-"),
        )
