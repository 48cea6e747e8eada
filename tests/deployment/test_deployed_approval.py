"""A hospital's word, over real processes: a study waits for it, and its policy holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from conformance.ledgers import released
from deployment.federation import Federation
from e2e.consortium import consortium, succeeded

SITES = ("ash", "birch", "cedar")
POLICY = {"smallest_n": 10, "smallest_cell": 2, "leverage": 0.9, "changed_by": 10}


@pytest.mark.long
def test_a_study_waits_for_the_hospitals(tmp_path: Path) -> None:
    """Catches a study that runs unapproved, one that does not run when it is approved, a policy
    that stays on paper, and words of a hospital that reach the coordinator."""
    study = consortium(tmp_path, evaluation={"metrics": "none"}, n=24)
    federation = Federation(tmp_path)
    for site in SITES:
        rules = {} if site == "birch" else {"approve_automatically": []}
        federation.add(site, tmp_path / "data" / site, changes={"policy": POLICY, **rules})
    try:
        federation.up()
        first = federation.finished(federation.order(study, tmp_path / "first"))
        assert "ash (not-approved)" in str(first), first
        assert "cedar (not-approved)" in str(first)
        for site in ("ash", "cedar"):
            home = federation.sites[site]
            assert {entry["class"] for entry in released(home.ledger)} == {"schema"}
            assert "The policy lets all of it leave" in succeeded(
                "site", "preview", home.path, "made-up"
            )
            said = ("--purpose", "cortical thickness, ethics 12/2027")
            succeeded("site", "approve", home.path, "made-up", *said)
        second = federation.finished(federation.order(study, tmp_path / "second"))
        assert second.get("missing") == {}, second
        # Somebody withdrew: the sums of the others would be that person's by subtraction.
        people = tmp_path / "data/ash/participants.tsv"
        lines = people.read_text().splitlines()
        people.write_text("\n".join(lines[:-1]) + "\n")
        measures = tmp_path / "data/ash/features.tsv"
        name = lines[-1].split("\t")[0]
        kept = [r for r in measures.read_text().splitlines() if not r.startswith(f"{name}\t")]
        measures.write_text("\n".join(kept) + "\n")
        third = federation.finished(federation.order(study, tmp_path / "third"))
        # Of the two that are left the coordinator would read each one's sums: they refuse, too.
        assert "ash (policy), birch (policy)" in str(third), third
        refused = released(federation.sites["ash"].ledger, kind="refusal")
        (why,) = next(entry["why"] for entry in refused if entry["phase"] == "cohort")
        assert "differ from those of an earlier release by 1" in why
        assert name not in str(third)
        assert "differ" not in (federation.server.path / "log/coordinator.log").read_text()
    finally:
        federation.down()
    settings = yaml.safe_load((federation.sites["ash"].path / "site.yaml").read_text())
    assert settings["policy"] == POLICY
