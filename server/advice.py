"""What to do about sites that cannot take part, by the codes that they gave."""

from __future__ import annotations

from collections.abc import Mapping

from motet.errors import DataError, NotApprovedError, PolicyError, StudyFileError

OWN_LOG = "Each site's own log has its reason."


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
    if codes == {NotApprovedError.code}:
        return (
            "Nobody there approved this plan: at each, 'motet site studies' lists what was asked, "
            "'motet site preview' shows it and 'motet site approve' allows it. Then run the study "
            "again."
        )
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
