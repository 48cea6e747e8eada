"""Split, simulate and judge real multi-site tables; write a page of numbers and figures for each.

``python benchmarks/real_studies.py TABLES_DIR --out docs/studies [--only NAME]``. The tables are
not part of the project (licences); of no person is anything written, numbers and plots only.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from motet.evaluation.result import Judgement
from motet.report.comparison import NAMES, best_probe, comparison, figure, pair, versions_of
from motet.report.figures.canvas import standalone
from motet.report.page import colours
from motet.report.read import StudyFiles, read_study
from motet.report.study_figures import study_figures
from motet.report.summary import summary


@dataclass(frozen=True, kw_only=True)
class Real:
    """A table: how to split it, what to keep, and what its owners allow."""

    title: str
    file: str
    split: tuple[str, ...]
    covariates: Mapping[str, str]
    about: str
    licence: str
    changes: Mapping[str, object] = field(default_factory=dict)


AGE_SEX = {"age": "continuous", "sex": "categorical"}
STUDIES = {
    "ixi": Real(
        title="IXI: cortical thickness, 3 scanners",
        file="ixi_fs_desikan_thickness_3sites_n558.csv",
        split=("--by", "site", "--covariates", "age,sex", "--features", "*_thickness"),
        covariates=AGE_SEX,
        about="558 people at three London hospitals (Philips 1.5 T, Philips 3 T, GE 1.5 T), "
        "FreeSurfer thickness of the Desikan-Killiany regions.",
        licence="IXI, CC BY-SA 3.0",
    ),
    "nine-sites": Real(
        title="9 sites: cortical thickness, simulated from real data",
        file="neurocombat_cortical_9sites_n263.csv",
        split=("--by", "site", "--covariates", "age,sex"),
        covariates=AGE_SEX,
        about="263 people, 9 sites, 341 features, 102 missing cells: the table that the R package "
        "of neuroCombat ships, simulated from real data.",
        licence="Artistic-2.0",
    ),
    "abide": Real(
        title="ABIDE: thickness and volumes, 20 sites",
        file="abide1_fs6_desikan_thickness_aseg_20sites_n1035.csv",
        split=(
            *("--by", "SITE_ID", "--id", "id"),
            *("--covariates", "DX_GROUP,AGE_AT_SCAN,SEX", "--drop", "SUB_ID,FIQ"),
        ),
        covariates={
            "DX_GROUP": "categorical",
            "AGE_AT_SCAN": "continuous",
            "SEX": "categorical",
        },
        about="1,035 people at 20 sites, 505 with autism, FreeSurfer thickness and volumes.",
        licence="ABIDE, CC BY-NC-SA",
    ),
    "fcon1000": Real(
        title="1000 Functional Connectomes: cortical thickness, 23 sites",
        file="fcon1000_destrieux_ct_aseg_23sites_n1078.csv",
        split=(
            *("--by", "site", "--id", "sub_id"),
            *("--covariates", "age,sex", "--features", "*_thickness"),
        ),
        covariates=AGE_SEX,
        about="1,078 people of 8 to 85 years at 23 sites of 3 to 198 people, FreeSurfer thickness "
        "of the Destrieux regions.",
        licence="1000 Functional Connectomes Project, non-commercial",
    ),
}
SEED = 1


def run(real: Real, table: Path, work: Path) -> StudyFiles:
    """Split the table and simulate the study, as a user would."""
    motet = str(Path(sys.executable).with_name("motet"))
    data = work / "data"
    subprocess.run(
        [motet, "split", str(table), *real.split, "--out", str(data)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    document = {
        "study": real.title,
        "method": "combat",
        "params": {"covariates": dict(real.covariates), **real.changes},
        "sites": {path.name: str(path) for path in sorted(data.iterdir()) if path.is_dir()},
        "evaluation": {"held_out": 0.2},
        "seed": SEED,
    }
    (work / "study.yaml").write_text(yaml.safe_dump(document))
    out = work / "out"
    words = ("simulate", str(work / "study.yaml"), "--out", str(out), "--reports", "later")
    subprocess.run([motet, *words], check=True)
    return read_study(out)


def metrics_table(judged: Judgement) -> Iterator[str]:
    """The comparison of a judgement as Markdown."""
    versions = versions_of(judged)
    yield (
        f"| {judged.n} rows, {judged.people} | chance | "
        + " | ".join(NAMES[version] for version in versions)
        + " | harmonized is |"
    )
    yield "|---|---|" + "---|" * (len(versions) + 1)
    for group in comparison(judged):
        for row in group.rows:
            chance = " ".join(x for x in (row.chance, f"({row.band})" if row.band else "") if x)
            cells = [
                f"{cell.value} [{cell.interval}]"
                if cell.version == "harmonized" and cell.interval
                else cell.value
                for cell in row.cells
            ]
            words = [cell.words for cell in row.cells if cell.version == "harmonized"]
            yield f"| {row.title} | {chance} | {' | '.join(cells)} | {''.join(words)} |"


def page(name: str, real: Real, study: StudyFiles, out: Path) -> str:
    """Write the figures; return the page."""
    place = out / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    drawn = study_figures(study)
    palette = colours()
    lines = [
        f"# {real.title}",
        "",
        f"{real.about} Licence of the data: {real.licence}; they are not part of the project.",
        "Here are numbers and plots only, of no person.",
        "",
        *(f"{sentence}\n" for sentence in summary(study, "ComBat")),
    ]
    sections = (
        ("Site", "site", drawn.site_effect),
        ("Biology", "biology", drawn.biology),
        ("Features", "features", drawn.features),
        ("Effects of the covariates", "effects", drawn.effects),
    )
    for heading, short, figures in sections:
        if not figures:
            continue
        lines += [f"## {heading}", ""]
        for k, svg in enumerate(figures):
            file = place / f"{short}-{k + 1}.svg"
            file.write_text(standalone(svg, palette), encoding="utf-8")
            alt = str(svg).split("<title>")[1].split("</title>")[0]
            lines.append(f'<img src="{name}/{file.name}" alt="{alt}" width="350">')
        lines.append("")
    titles = {"simulation": "With everybody in one place", "sums": "From sums alone, as deployed"}
    for source, judged in study.judgements.items():
        lines += [f"## {titles[source]}", "", *metrics_table(judged), ""]
        lines += [*(f"- {note}" for note in judged.notes), ""]
    lines += [
        f"Motet {study.run['motet']}, seed {SEED}, 20 % of people held out; plan "
        f"`{study.run['plan'][:16]}`, shared model `{study.run['model'][:16]}`.",
        "",
        f"Made by `python benchmarks/real_studies.py TABLES_DIR --out docs/studies --only {name}`.",
        "",
    ]
    return "\n".join(lines)


def index_row(name: str, real: Real, study: StudyFiles) -> str:
    """The study's row in the index."""
    judged = study.judgement
    assert judged is not None
    probe = best_probe(judged)
    assert probe is not None
    after = probe.readings["harmonized"]
    raw = probe.readings["raw"].value
    alone = probe.readings["demographics"].value
    assert raw is not None
    assert after.value is not None
    assert alone is not None
    age = next(m for m in judged.metrics if m.name.lower().startswith("r2_age"))
    values = [age.readings[v].value for v in ("raw", "harmonized")]
    kept = " → ".join("–" if v is None else figure(age.name, v) for v in values)
    return (
        f"| [{real.title}]({name}.md) | {study.run['people']} + {judged.n} | "
        f"{figure(probe.name, probe.chance or 0.0)} | {figure(probe.name, raw)} | "
        f"{figure(probe.name, after.value)} | {pair(probe.name, after.band)} | "
        f"{figure(probe.name, alone)} | {kept} |"
    )


def main() -> None:
    """Run the studies asked for; the index is written when all are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/studies"))
    parser.add_argument("--only", choices=list(STUDIES), action="append")
    asked = parser.parse_args()
    rows = []
    for name in asked.only or STUDIES:
        real = STUDIES[name]
        with tempfile.TemporaryDirectory() as work:
            study = run(real, asked.tables / real.file, Path(work))
        asked.out.mkdir(parents=True, exist_ok=True)
        text = page(name, real, study, asked.out)
        (asked.out / f"{name}.md").write_text(text, encoding="utf-8")
        rows.append(index_row(name, real, study))
        print(rows[-1])
    if not asked.only:
        (asked.out / "README.md").write_text(INDEX + "\n".join(rows) + "\n", encoding="utf-8")


INDEX = """# Studies

Real tables, each hospital a site of its own, harmonized by federated ComBat: fitted on 80 % of the
people, judged on the others, whom the fit did not see. How often a random forest, retrained on
each version of the data, tells the site (balanced over sites), and how well age can be read by
ridge regression. Where the covariates alone tell the site, the sites' people differ, and what was
to be kept tells it too. Numbers and plots only; the data are not part of the project. One command
makes all pages: `python benchmarks/real_studies.py TABLES_DIR --out docs/studies`.

| study | people: fit + judged | chance | raw | harmonized | chance gives | covariates | R² of age |
|---|---|---|---|---|---|---|---|
"""


if __name__ == "__main__":
    main()
