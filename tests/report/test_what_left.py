"""What the study report says of what left: as the releases are, whatever the method is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from motet.report.leaving import leaving
from motet.report.methods_text import methods_text
from motet.report.read import StudyFiles, read_study
from motet.report.summary import summary
from report.made_up import SITES, SUMS_ALONE, write_study

A = {"name": "a", "meaning": "the anatomy of this person"}


def study_with(folder: Path, leaves: str, **step: Any) -> StudyFiles:
    """A finished study of networks (as its params say) in which one step sent something."""
    sent = {"phase": "embedding[1]/step", "class": leaves, "array": "T1/a", "dtype": "uint64"}
    agreed = {"phase": "schema", "class": "schema", "array": "description", "dtype": ""}
    repeat = {"name": "embedding", "steps": [{"name": "step", "arrays": [A], **step}]}
    write_study(
        folder,
        metrics=SUMS_ALONE,
        plan={"method": "mispel", "params": {"train": {}}, "steps": [repeat]},
        run={
            "received": [
                {"site": site, "shape": [], "bytes": 8, "times": 1, **entry}
                for site in SITES
                for entry in (agreed, sent)
            ]
        },
    )
    return read_study(folder)


def test_a_travelers_anatomy_left(tmp_path: Path) -> None:
    """Catches a report, or a text to paste, that says that single people's data stayed and that
    networks' changes left, where consenting travelers' anatomy did."""
    study = study_with(tmp_path, "personal", key="traveler", read_by="holders")
    first, *_ = summary(study, "MISPEL")
    assert "what left are agreements and what consenting travelers' own scans show" in first
    assert "changes of networks" not in first
    assert "sums" not in first
    assert [a.meaning for a in leaving(study).arrays] == ["", "the anatomy of this person"]
    text = methods_text(study, None).paragraph
    assert "Individual data stayed at the hospitals, which" not in text
    assert "but for anatomy or quantiles of the scans of travelers with a recorded consent" in text
    assert "added where the coordinator could not read it" in text


def test_quantiles_that_the_coordinator_reads(tmp_path: Path) -> None:
    """Catches a text that says of every traveler that the coordinator could not read them."""
    text = methods_text(study_with(tmp_path, "personal", key="traveler"), None).paragraph
    assert "travelers with a recorded consent" in text
    assert "could not read it" not in text


def test_what_is_sealed_is_not_sent_on_as_it_is(tmp_path: Path) -> None:
    """Catches a hub's units that are said to be there for everybody to read."""
    study = study_with(tmp_path, "published", sealed="recipient")
    account = leaving(study)
    assert dict(account.classes).keys() == {"schema", "sealed"}
    assert "sent on as they are" not in " ".join(words for _, words in account.classes)
    assert {row.leaves for row in account.arrays} == {"schema", "sealed"}
    first, *_ = summary(study, "MISPEL")
    assert "agreements" in first
    assert "estimates sealed for one hospital each" in first
    assert "estimates sealed for one hospital each" in methods_text(study, None).paragraph


def test_what_is_published_is(tmp_path: Path) -> None:
    study = study_with(tmp_path, "published", sealed="")
    assert "sent on as they are" in dict(leaving(study).classes)["published"]
    assert "what left are estimates and agreements" in summary(study, "a method")[0]
