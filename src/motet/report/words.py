"""Numbers as a reader wants them. A thin space stands before a unit and never breaks."""

from __future__ import annotations

from collections.abc import Sequence

SPACE = "\u202f"
MINUS = "\u2212"


def number(value: float, *, digits: int = 3) -> str:
    """Three significant digits, with a real minus: ``−0.0123``; small and large as powers."""
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, power = text.split("e")
        text = f"{mantissa}·10{_raised(int(power))}"
    return text.replace("-", MINUS)


def significant(value: float, *, digits: int = 3) -> str:
    """Three significant digits, zeros and all: ``8.00``, ``10.4``."""
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return number(value, digits=digits)
    return f"{value:#.{digits}g}".rstrip(".").replace("-", MINUS)


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def fixed(value: float, *, places: int = 2) -> str:
    """A fixed number of decimals, with a real minus and no ``−0.00``."""
    text = f"{value:.{places}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", MINUS)


def percent(share: float) -> str:
    """A share as per cent; a decimal where it says more than the whole number."""
    value = 100.0 * share
    places = 1 if 0 < value < 9.95 and abs(value - round(value)) > 0.05 else 0
    return f"{value:.{places}f}{SPACE}%"


def size(count: int) -> str:
    """Bytes for people: ``2.7 kB``."""
    power = min((len(str(count)) - 1) // 3, 3)
    return f"{count / 1000**power:.{min(power, 1)}f}{SPACE}{('B', 'kB', 'MB', 'GB')[power]}"


def count(n: int, one: str, many: str = "") -> str:
    """``1 hospital``, ``3 hospitals``."""
    return f"{n:,}\u00a0".replace(",", SPACE) + (one if n == 1 else many or f"{one}s")


def joined(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def shape(dims: Sequence[int]) -> str:
    """``68 × 2``; a single number for an array without dimensions."""
    return " × ".join(map(str, dims)) if dims else "1"


def short(digest: str) -> str:
    """The first twelve characters of a hash."""
    return digest[:12]
