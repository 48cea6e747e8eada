"""What to do about sites that cannot take part, by the codes that they gave."""

from __future__ import annotations

from collections.abc import Mapping

from motet.errors import DataError, NotApprovedError, PolicyError, StudyFileError, listed

OWN_LOG = "Each site's own log has its reason."
APPROVE = (
    "Where nobody approved this plan, 'motet site studies' lists what was asked, 'motet site "
    "preview' shows it and 'motet site approve' allows it. Then run the study again."
)


def about_missing(missing: Mapping[str, str], *, plain: bool) -> str:
    """What to do about them.

    Parameters
    ----------
    missing : mapping of str to str
        Site -> code.
    plain : bool
        Whether sums of too few sites would go without masks.
    """
    if not missing:
        return "A federation needs two sites or more: add one."
    codes = set(missing.values())
    if NotApprovedError.code in codes:
        return APPROVE if len(codes) == 1 else f"{APPROVE} {OWN_LOG}"
    if len(missing) > 1 and codes <= {DataError.code, StudyFileError.code}:
        return (
            "They say the same: look at the names of covariates and options in the study file. "
            f"{OWN_LOG}"
        )
    if plain and PolicyError.code in codes and len(codes) > 1:
        return (
            "With fewer than three sites sums cannot be masked, and a site refuses that its own "
            "are read unless its policy says plain_sums: true: wait until the others are back. "
            f"{OWN_LOG}"
        )
    return OWN_LOG


def about_lost(lost: Mapping[str, str]) -> str:
    """What to do about sites that a run cannot go on without.

    Parameters
    ----------
    lost : mapping of str to str
        Site -> code.
    """
    refusing = sorted(site for site, code in lost.items() if code == PolicyError.code)
    down = sorted(set(lost) - set(refusing))
    said = []
    if refusing:
        said.append(
            f"The policy of {listed(refusing)} refused, its log says what: have it changed, or run "
            "another study that it allows into another folder."
        )
    if down:
        said.append(f"Have {listed(down)} started again.")
    said.append("Run the study again: it goes on where it stopped.")
    return " ".join(said)
