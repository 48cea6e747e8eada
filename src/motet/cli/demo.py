"""``motet demo``: the built-in study end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet.cli.show import console, effect_table, progress, table, warnings


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("motet_demo"),
    seed: Annotated[int, typer.Option(help="Another seed, other people.")] = 1,
) -> None:
    """Make four hospitals, harmonize them without pooling, then a fifth that uploads nothing."""
    from motet import demo as built_in
    from motet import simulation
    from motet.apply import apply_model
    from motet.bids.features import read_measures

    scanned = built_in.write_consortium(out, seed=seed)
    with progress() as observe:
        result = simulation.simulate(out / "study.yaml", out=out / "harmonized", observe=observe)
    warnings(result.warnings)
    if result.site_effect is not None:
        effect_table(result.site_effect)
    apply_model(out / "harmonized", out / "unseen" / "erasmus", out / "unseen_harmonized")

    folders = {s: out / "harmonized" / "sites" / s / "harmonized" for s in result.schema.sites}
    folders["erasmus"] = out / "unseen_harmonized"
    after = {}
    for site, folder in folders.items():
        people = scanned[site].participants["participant_id"].tolist()
        after[site] = read_measures(folder, people, site=site).values
    raw_error = built_in.error_to_truth(scanned, {s: scanned[s].values for s in folders})
    left = built_in.error_to_truth(scanned, after)
    console.print(
        "\nDistance from the anatomy before the scanner, which is known here (mean absolute, up "
        "to one\nshift a region common to all hospitals, since they are brought to their average):"
    )
    table(
        ("hospital", "raw", "harmonized"),
        [(s, f"{1000 * raw_error[s]:.0f} µm", f"{1000 * left[s]:.0f} µm") for s in folders],
    )
    console.print(
        "erasmus was not in the study and uploaded nothing.\n\n"
        f"Written to {out}:\n"
        "  study.yaml            the study file\n"
        "  sites/, unseen/       the hospitals' own folders\n"
        f"  harmonized/shared/    the shared model, {result.sha256[:12]}\n"
        "  harmonized/sites/     of every hospital its model, harmonized data and ledger\n"
        "  harmonized/report.html   the study report; of each site in harmonized/sites/<site>/\n"
        "  harmonized/plan.json, harmonized/metrics.json\n"
        "  unseen_harmonized/    the fifth hospital, harmonized at home",
        markup=False,
    )
