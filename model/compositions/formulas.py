"""Formulas of alloys and compounds as people write them, read as fractions of atoms.

Read are ``Mg65Cu25Y10``, ``MgCu2``, ``Mg0.65Cu0.25Y0.1``, ``Mg65%Cu25%Y10%``, nested brackets of any kind as
in ``(Fe0.5Co0.5)72B20Si4Nb4``, subscripts (Unicode, ``Mg_65``, ``$Mg_{65}$``), amounts such as ``1e-4`` and
``1/3``, spaces, commas and hyphens between elements, ``Fe bal Cr18 Ni8``, and amounts before elements: in
``Ti-6Al-4V`` the first element has the balance to 100 %. Amounts in brackets that sum to 100 are per cent of
what follows the bracket: ``(Fe50Ni50)83B17``. A unit after the formula, ``(wt%)`` or ``at.%``,
counts before the unit that is passed.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from model.compositions.composition import PlainComposition
from model.compositions.element_properties import atomic_numbers, element_properties
from stores.errors import InputError
from stores.structures.symbols import ISOTOPES

if TYPE_CHECKING:
    from collections.abc import Sequence

UNITS = ("at", "wt")
"""Of amounts: fractions of atoms or of mass; per cent and fractions alike, since sums are normalised."""

ROUNDING = 1e-3
"""Relative deviation of a sum from 1 or 100 that rounded amounts explain; a larger one is reported."""

NEAR = 0.1  # relative deviation from 1 or 100 below which amounts are meant to sum to 1 or 100
LONGEST = 2000  # letters of a formula
DEEPEST = 20  # nested brackets

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?:/\d+)?"
_PLAIN = re.compile(rf"(?:[A-Z][a-z]?(?:{_NUMBER})?)+")
_PLAIN_ITEM = re.compile(rf"([A-Z][a-z]?)({_NUMBER})?")
_TOKEN = re.compile(
    rf"(?P<number>{_NUMBER})|(?P<balance>\(?(?:bal(?:ance)?|Bal(?:ance)?|BAL(?:ANCE)?)\.?\)?)"
    r"|(?P<element>[A-Z][a-z]?)|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<gap>[\s,;\-]+)"
)
_UNIT = re.compile(r"[\s,;(\[]+(at|wt|mol|mass|weight)\.?\s*-?\s*(?:%|percent|fraction)?\s*[)\]]?\s*$", re.I)
_CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Parsed:
    """A composition that was read."""

    # fractions of atoms by element symbol, above zero, summing to 1, ascending by atomic number
    amounts: dict[str, float]
    note: str = ""  # what was assumed or changed in reading, one line; empty where nothing was


def parse_composition(
    text: str | Mapping[str, object], *, unit: str = "at", balance: str | None = None
) -> Parsed:
    """Read a formula, or amounts by element such as the columns of a table.

    Parameters
    ----------
    text
        A formula, or amounts by element symbol: numbers or their texts. Blank cells and NaN count as zero,
        the text ``bal`` as the balance to 100.
    unit
        Of the amounts: ``at`` or ``wt``. A unit that the formula itself ends with counts instead.
    balance
        Element without an amount whose share is what the others, in per cent, leave of 100.

    Returns
    -------
    Parsed
        Elements given several times are summed, those of amount zero left out.

    Raises
    ------
    InputError
        For an element that is unknown, an amount that is negative or no finite number, no amount above zero,
        text that is not part of a formula, and masses that do not sum to about 100 or 1.
    """
    if unit not in UNITS:
        raise InputError(f"unit {unit!r} of a composition: choose at or wt")
    if isinstance(text, Mapping):
        named = ", ".join(f"{symbol} {amount}" for symbol, amount in list(text.items())[:6])
        amounts, balanced, notes = _of_columns(text)
        is_percent = True
    else:
        named = text
        amounts, balanced, notes, stated = _of_formula(text)
        is_percent = False
        if stated is not None:
            unit = stated
    shown = f"{named if len(named) <= 60 else named[:57] + '...'!r}"
    if balance is not None:
        balanced = _with_balance(balance, balanced, amounts, shown)
    if balanced is not None:
        notes.append(_balance(amounts, balanced, shown, unit))
    amounts = {symbol: amount for symbol, amount in amounts.items() if amount > 0}
    total = math.fsum(amounts.values())
    if not amounts or not math.isfinite(total):
        raise InputError(f"{shown}: no element has an amount above zero; write a formula such as Mg65Cu25Y10")
    whole = next((w for w in (1.0, 100.0) if abs(total / w - 1) <= NEAR), None)
    if unit == "wt" and whole is None and len(amounts) > 1:
        raise InputError(
            f"{shown}: masses sum to {total:g}, neither 100 nor 1; name the element that has the balance, or "
            "give the missing amounts"
        )
    if whole is None:
        if is_percent and total != 1:
            notes.append(f"amounts sum to {total:.6g}; divided by their sum")
    elif abs(total / whole - 1) > ROUNDING:
        notes.append(f"amounts sum to {total:.6g}, not {whole:g}; divided by their sum")
    if unit == "wt":
        amounts = {symbol: amount / _masses()[symbol] for symbol, amount in amounts.items()}
        total = math.fsum(amounts.values())
    order = sorted(amounts, key=atomic_numbers().__getitem__)
    return Parsed({symbol: amounts[symbol] / total for symbol in order}, "; ".join(notes))


def plain_composition(amounts: Mapping[str, float], extras: Sequence[float] = ()) -> PlainComposition:
    """Return fractions of atoms by symbol, as of `Parsed.amounts`, in the form that models take.

    Parameters
    ----------
    amounts
        Fractions above zero that sum to 1.
    extras
        Numeric columns beside the composition, NaN where missing.
    """
    numbers = np.array([atomic_numbers()[symbol] for symbol in amounts], dtype=np.int64)
    order = np.argsort(numbers)
    fractions = np.array(list(amounts.values()), dtype=np.float64)
    return PlainComposition(numbers[order], fractions[order], np.asarray(extras, dtype=np.float64))


@cache
def _masses() -> dict[str, float]:
    masses = element_properties().column("atomic mass")
    return {symbol: float(masses[number]) for symbol, number in atomic_numbers().items()}


def _of_columns(columns: Mapping[str, object]) -> tuple[dict[str, float], str | None, list[str]]:
    """Read amounts, the element of the balance and notes of a row of a table."""
    amounts: dict[str, float] = {}
    isotopes: list[str] = []
    balanced = None
    for name, cell in columns.items():
        symbol = _element(name.strip(), name, isotopes)
        text = "" if cell is None else str(cell).strip()
        if text.lower().rstrip(".") in ("bal", "balance"):
            if balanced is not None:
                raise InputError(f"{balanced} and {symbol} both have the balance; give the amount of one")
            balanced = symbol
            continue
        try:
            amount = (
                float(text.rstrip("%")) if text and text.lower() not in ("nan", "-", "na", "n/a") else 0.0
            )
        except ValueError:
            raise InputError(f"amount {text!r} of {symbol} is no number; correct it") from None
        _add(amounts, symbol, amount, f"{symbol} {text}")
    return amounts, balanced, _isotope_notes(isotopes)


def _of_formula(text: str) -> tuple[dict[str, float], str | None, list[str], str | None]:
    """Read amounts, the element of the balance, notes, and the unit at the end of a formula."""
    if len(text) > LONGEST:
        raise InputError(f"{text[:40]!r}...: longer than {LONGEST} letters; a formula is meant")
    isotopes: list[str] = []
    amounts: dict[str, float] = {}
    if _PLAIN.fullmatch(text):  # nearly all formulas
        for symbol, number in _PLAIN_ITEM.findall(text):
            symbol = _element(symbol, text, isotopes)
            _add(amounts, symbol, _value(number, text) if number else 1.0, text)
        return amounts, None, _isotope_notes(isotopes), None
    plain = unicodedata.normalize("NFKC", text).replace("$", "").replace("−", "-").replace("–", "-").strip()
    plain = re.sub(r"_\{([^{}]*)\}", r"\1", plain).replace("_", "")
    unit = None
    found = _UNIT.search(plain)
    if found and found.start() > 0:
        unit = "wt" if found[1].lower() in ("wt", "mass", "weight") else "at"
        plain = plain[: found.start()]
    if re.search(r"\d,\d", plain):
        raise InputError(f"{text!r}: a comma between digits is unclear; write a decimal point, or a space")
    amounts, balanced, notes = _Reader(plain.replace("%", ""), text, isotopes).read()
    return amounts, balanced, [*notes, *_isotope_notes(isotopes)], unit


class _Reader:
    """Reads a formula from left to right."""

    def __init__(self, plain: str, text: str, isotopes: list[str]) -> None:
        self.text, self.isotopes = text, isotopes
        self.tokens = self._tokens(plain)
        self.place = 0
        self.notes: list[str] = []

    def _tokens(self, plain: str) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(plain):
            found = _TOKEN.match(plain, position)
            if found is None:
                raise InputError(
                    f"{self.text!r}: {plain[position]!r} is no part of a formula; write it like Mg65Cu25Y10, "
                    "symbols with a capital letter"
                )
            tokens.append((str(found.lastgroup), found[0]))
            position = found.end()
        while tokens and tokens[-1][0] == "gap" and "-" not in tokens[-1][1]:
            tokens.pop()
        return tokens

    def read(self) -> tuple[dict[str, float], str | None, list[str]]:
        """Return amounts, the element of the balance, and notes."""
        if any(kind == "balance" for kind, _ in self.tokens):
            return self._with_balance()
        if self._is_designation():
            return self._designation()
        amounts = self._group("")
        self._check_hyphens(amounts)
        return amounts, None, self.notes

    def _peek(self) -> tuple[str, str]:
        return self.tokens[self.place] if self.place < len(self.tokens) else ("end", "")

    def _group(self, opened: str, depth: int = 0) -> dict[str, float]:
        """Amounts up to the bracket that closes the opened one, or to the end."""
        amounts: dict[str, float] = {}
        while True:
            kind, token = self._peek()
            self.place += 1
            if kind == "gap":
                if "-" in token and self._peek()[0] == "number":
                    written = token.strip() + self._peek()[1]
                    raise InputError(
                        f"{self.text!r}: {written} is negative, or an amount before its element; write "
                        "all amounts after the elements, or all before: Ti-6Al-4V"
                    )
                continue
            if kind in ("close", "end"):
                expected = _CLOSING.get(opened, "")
                if token != expected:
                    what = f"{opened} is not closed" if opened else f"{token} closes no bracket"
                    raise InputError(f"{self.text!r}: {what}; correct the brackets")
                return amounts
            if kind == "number":
                raise InputError(
                    f"{self.text!r}: {token} follows no element; write amounts after their elements: Mg65Cu35"
                )
            if kind == "open":
                if depth == DEEPEST:
                    raise InputError(f"{self.text[:60]!r}: more than {DEEPEST} nested brackets; simplify it")
                inner = self._group(token, depth + 1)
                if not inner:
                    raise InputError(f"{self.text!r}: empty brackets; write an element inside")
                inner = self._whole(inner)
            else:
                inner = {_element(token, self.text, self.isotopes): 1.0}
            factor = self._amount()
            for symbol, amount in inner.items():
                _add(amounts, symbol, amount * factor, self.text)

    def _whole(self, inner: dict[str, float]) -> dict[str, float]:
        """Take amounts in brackets that sum to 100 as per cent if a number follows: (Fe50Ni50)83B17."""
        if len(inner) < 2 or self._peek()[0] != "number":
            return inner
        if abs(math.fsum(inner.values()) / 100 - 1) > ROUNDING:
            return inner
        self.notes = ["amounts in brackets that sum to 100 are read as per cent"]
        return {symbol: amount / 100 for symbol, amount in inner.items()}

    def _amount(self) -> float:
        kinds = [kind for kind, _ in self.tokens[self.place : self.place + 3]] + ["end"]
        # "Mg 65 Cu 35", not "Fe 18Cr"
        apart = kinds[:2] == ["gap", "number"] and kinds[2] in ("gap", "end", "close")
        if apart and "-" not in self.tokens[self.place][1]:
            self.place += 1
        kind, number = self._peek()
        if kind != "number":
            return 1.0
        self.place += 1
        return _value(number, self.text)

    def _is_designation(self) -> bool:
        """Whether amounts stand before the elements after the first one: Zr-10Ti-5Nb."""
        kinds = [kind for kind, _ in self.tokens]
        if not (len(kinds) >= 4 and len(kinds) % 3 == 1 and kinds[0] == "element"):
            return False
        rest = [tuple(kinds[i : i + 3]) for i in range(1, len(kinds), 3)]
        return all(part == ("gap", "number", "element") for part in rest)

    def _designation(self) -> tuple[dict[str, float], str | None, list[str]]:
        first = _element(self.tokens[0][1], self.text, self.isotopes)
        amounts: dict[str, float] = {}
        for i in range(1, len(self.tokens), 3):
            symbol = _element(self.tokens[i + 2][1], self.text, self.isotopes)
            _add(amounts, symbol, _value(self.tokens[i + 1][1], self.text), self.text)
        if first in amounts:
            raise InputError(f"{self.text!r}: {first} has the balance and an amount; give one of them")
        return amounts, first, []

    def _with_balance(self) -> tuple[dict[str, float], str | None, list[str]]:
        """Read elements and amounts side by side, one of them with the word balance."""
        amounts: dict[str, float] = {}
        balanced = None
        items = [i for i, (kind, _) in enumerate(self.tokens) if kind != "gap"]
        pairs = list(zip(items[::2], items[1::2], strict=False))
        gaps_inside = [b - a > 1 for a, b in pairs]
        gaps_between = [b - a > 1 for a, b in zip(items[1::2], items[2::2], strict=False)]
        # in "Fe 18Cr 8Ni bal" the amounts belong to the elements after them
        clear = len(items) % 2 == 0 and (not any(gaps_inside) or all(gaps_between))
        for a, b in pairs if clear else []:
            parts = {self.tokens[i][0]: self.tokens[i][1] for i in (a, b)}
            hyphen = b - a > 1 and "-" in self.tokens[a + 1][1]
            if "element" not in parts or not parts.keys() & {"number", "balance"} or hyphen:
                clear = False
                break
            symbol = _element(parts["element"], self.text, self.isotopes)
            if "number" in parts:
                _add(amounts, symbol, _value(parts["number"], self.text), self.text)
            elif balanced is None:
                balanced = symbol
            else:
                raise InputError(
                    f"{self.text!r}: {balanced} and {symbol} both have the balance; give one amount"
                )
        if not clear:
            raise InputError(
                f"{self.text!r}: beside a balance, each element needs its own amount; write Fe bal Cr18 Ni8"
            )
        if balanced in amounts:
            raise InputError(f"{self.text!r}: {balanced} has the balance and an amount; give one of them")
        return amounts, balanced, []

    def _check_hyphens(self, amounts: Mapping[str, float]) -> None:
        """Refuse ``Al-Cu4``: one part of aluminium, or the balance."""
        kinds = [kind for kind, _ in self.tokens]
        if not any(kind == "gap" and "-" in token for kind, token in self.tokens) or len(amounts) < 2:
            return
        bare = [i for i, kind in enumerate(kinds) if kind == "element" and kinds[i + 1 : i + 2] != ["number"]]
        if bare == [0] and kinds.count("number"):
            first, second = self.tokens[0][1], next(t for k, t in self.tokens[1:] if k == "element")
            raise InputError(
                f"{self.text!r}: is {first} one part, or the balance? Write {first}1 in the first case, "
                f"and amounts before the elements, {first}-5{second}, in the second"
            )


def _element(symbol: str, where: str, isotopes: list[str]) -> str:
    if symbol in atomic_numbers():
        return symbol
    if symbol in ISOTOPES:
        isotopes.append(symbol)
        return "H"
    raise InputError(f"{where!r}: {symbol!r} is no element from H to Fm; correct the symbol")


def _isotope_notes(isotopes: list[str]) -> list[str]:
    return [f"{', '.join(sorted(set(isotopes)))} read as hydrogen"] if isotopes else []


def _value(number: str, where: str) -> float:
    numerator, _, denominator = number.partition("/")
    value = float(numerator)
    if denominator:
        if not float(denominator):
            raise InputError(f"{where!r}: {number} divides by zero; correct the amount")
        value /= float(denominator)
    return value


def _add(amounts: dict[str, float], symbol: str, amount: float, where: str) -> None:
    if math.isnan(amount):
        amount = 0.0
    if amount < 0 or math.isinf(amount):
        raise InputError(f"{where!r}: amount {amount:g} of {symbol} is negative or not finite; correct it")
    amounts[symbol] = amounts.get(symbol, 0.0) + amount


def _with_balance(balance: str, balanced: str | None, amounts: Mapping[str, float], shown: str) -> str:
    """Return the element of the balance that was passed, after checks against what was read."""
    symbol = _element(balance, "balance", [])
    if balanced not in (None, symbol):
        raise InputError(f"{shown}: {balanced} has the balance, not {symbol}; give one of them")
    if amounts.get(symbol):
        raise InputError(
            f"{shown}: {symbol} has an amount, {amounts[symbol]:g}, and the balance; give one of them"
        )
    return symbol


def _balance(amounts: dict[str, float], symbol: str, shown: str, unit: str) -> str:
    """Give an element what the others leave of 100 %; return the note."""
    total = math.fsum(amounts.values())
    if total >= 100:
        raise InputError(
            f"{shown}: the others sum to {total:g}, which leaves no balance for {symbol}; correct it"
        )
    amounts[symbol] = 100 - total
    return f"{symbol} has the balance, {100 - total:.6g} of 100 {unit}%"
