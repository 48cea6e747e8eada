"""What reports need beside the base install: jinja2 and matplotlib, the extra ``report``."""

from __future__ import annotations

from importlib.util import find_spec

from motet.errors import MotetError

NEEDED = ("jinja2", "matplotlib")


class ReportExtraError(MotetError):
    """A report was asked for where jinja2 or matplotlib is not installed."""

    code = "report-extra"


def installed() -> bool:
    """Whether reports can be made here."""
    return all(find_spec(module) for module in NEEDED)


def require() -> None:
    """Refuse, in a sentence, where the extra is not installed.

    Raises
    ------
    ReportExtraError
    """
    if not installed():
        raise ReportExtraError(
            "Reports need jinja2 and matplotlib, which are not installed here.",
            do="Install them with: pip install 'motet[report]'; then 'motet report DIR'.",
        )
