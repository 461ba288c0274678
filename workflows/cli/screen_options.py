"""Options of `mgsurf screen`: what is screened, under which conditions, and how it is ranked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
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

PROTOTYPES = "Prototypes"
COMPOSITIONS = "Compositions"
RANKING = "Ranking"
CONDITIONS = "Conditions"


@dataclass(frozen=True)
class ScreeningConditions:
    """Chemical potential, dissolution and uncertainty of a screening."""

    max_index: Annotated[
        int, typer.Option(min=1, max=5, help="Largest Miller index.", rich_help_panel=CONDITIONS)
    ] = 1
    dmu: Annotated[
        float,
        typer.Option(
            metavar="EV",
            max=0.0,
            help="Chemical potential of Mg relative to its metal (eV, negative); 0, Mg-rich, by default. "
            "Without Mg: of the less electronegative element.",
            rich_help_panel=CONDITIONS,
        ),
    ] = 0.0
    x_rich: Annotated[
        bool, typer.Option("--x-rich", help="At the X-rich end.", rich_help_panel=CONDITIONS)
    ] = False
    draws: Annotated[
        int,
        typer.Option(
            min=2, max=10_000, metavar="N", help="Draws of the facet values.", rich_help_panel=CONDITIONS
        ),
    ] = 200
    concentration: Annotated[
        float, typer.Option(metavar="MOL/L", help="Of dissolved cations.", rich_help_panel=CONDITIONS)
    ] = 1e-6
    temperature: Annotated[
        float, typer.Option(metavar="K", help="Of the solution.", rich_help_panel=CONDITIONS)
    ] = 298.15
    ion: Annotated[
        list[str] | None,
        typer.Option(
            "--ion",
            metavar="EL=CHARGE",
            help="Cation formed, such as Fe=2 (may be repeated); else the one of lowest potential.",
            rich_help_panel=CONDITIONS,
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
        typer.Option(
            metavar="FORMULA",
            callback=short_number,
            help="In all structure types that fit, or those of --prototype (may be repeated).",
            rich_help_panel=PROTOTYPES,
        ),
    ] = None
    partner: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EL",
            help="Mg and this element, both ways round, in those types (may be repeated).",
            rich_help_panel=PROTOTYPES,
        ),
    ] = None
    prototype: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SYMBOL",
            help="Strukturbericht symbol: B2, C14 (may be repeated); else all.",
            rich_help_panel=PROTOTYPES,
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
        typer.Option(
            metavar="NAME",
            help="corrosion, emitter, cathode or photocatalyst: keep what meets its criterion.",
            rich_help_panel=RANKING,
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
        typer.Option(
            metavar="COLUMN",
            help="formula, potential, work_function or surface_energy; -COLUMN sorts downwards.",
            rich_help_panel=RANKING,
        ),
    ] = None
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Show the first N.", rich_help_panel=RANKING)
    ] = None

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
