"""The study report: whole, closed, escaped, and without people."""

from __future__ import annotations

import html
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from conftest import leave_undrawn
from motet.errors import ModelError
from motet.report import write_site_report, write_study_report
from report.made_up import (
    ABOUT,
    PROBES,
    SITES,
    SUMS_ALONE,
    every_metric,
    harmonized_of,
    site_table,
    write_site,
    write_study,
)

VOID = {"meta", "br", "img", "hr", "path", "use", "rect", "image"}


class Page(HTMLParser):
    """Checks that elements close in order, and collects what would load something."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.append(given.get("href", ""))
        else:
            self.loads += [given[k] for k in ("src", "href", "xlink:href", "data") if k in given]
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def study_page(folder: Path, pages: str = "left out") -> str:
    path = write_study_report(folder, site_pages=pages)  # type: ignore[arg-type]
    assert path == folder / "report.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with the pages of its sites, people marked SECRET."""
    folder = write_study(tmp_path_factory.mktemp("study"))
    for k, site in enumerate(SITES):
        table = site_table(site)
        with pytest.MonkeyPatch.context() as patch:
            if k > 1:  # ids of two pages can clash; a third only takes time
                leave_undrawn(patch)
            write_site_report(
                write_site(folder, site),
                raw=table,
                harmonized=harmonized_of(table),
                fit=table.batch == "signa",
                about=ABOUT,
                warnings=["<b>sub-SECRET7</b> has one value."],
            )
    return folder


@pytest.fixture(scope="module")
def page(simulated: Path) -> str:
    return study_page(simulated)


def test_closed(page: str) -> None:
    """Catches a page that loads something, an element left open, and an id given twice."""
    read = Page(page)
    assert read.open == []
    assert all(load.startswith(("#", "data:image/png;base64,")) for load in read.loads), read.loads
    assert not re.search(r"url\((?!#)|@import", page)
    assert all(link.startswith(("#", "https://doi.org/")) for link in read.links)
    assert len(set(read.ids)) == len(read.ids)
    missing = {link[1:] for link in read.links if link.startswith("#")} - set(read.ids)
    assert not missing


def test_no_person(page: str, simulated: Path) -> None:
    """Catches an id, a site's own words, or a page of a site in what may be passed on."""
    assert "SECRET" not in page
    assert "strange value" not in page
    assert "site page begins" not in page
    assert "SECRET" in (simulated / "sites" / SITES[0] / "report.html").read_text()


def test_site_pages(simulated: Path) -> None:
    """Catches site pages shown without saying so, cut off, or with ids that clash."""
    text = study_page(simulated, "shown")
    assert "This file shows people." in text
    assert text.count("<details>\n<summary>") == len(SITES)
    assert "sub-SECRET2" in text
    read = Page(text)
    assert read.open == []
    assert len(set(read.ids)) == len(read.ids)


@pytest.mark.usefixtures("undrawn")
def test_deployed_has_no_site_pages(tmp_path: Path) -> None:
    """Catches a deployed study that shows what should stay at the sites."""
    folder = write_study(
        tmp_path, run={"mode": "deployed"}, metrics={**SUMS_ALONE, "warnings": None}
    )
    with pytest.raises(ModelError, match="stay at the sites"):
        write_study_report(folder, site_pages="shown")
    text = study_page(folder)
    assert "stays at the hospital, in its own report" in text
    assert "simulated" not in Page(text).text


def test_escaped(page: str) -> None:
    """Catches a site, feature or study whose name is read as HTML."""
    words = "".join(Page(page).text)
    assert SITES[2] in words
    assert "made-up <em>study</em>" in words
    assert "lh_a<i>&b_größe" in words or "<i>" not in page
    assert "<em>" not in page


def test_every_metric(page: str) -> None:
    """Catches a metric of the evaluation that the table does not show, or shows elsewhere."""
    for metric in every_metric():
        row = re.search(rf'<tr id="simulation-{metric.name}">(.*?)</tr>', page, flags=re.DOTALL)
        assert row is not None, metric.name
        assert html.escape(metric.title) in row.group(1)
        shown = re.findall(r'class="value">[^<]', row.group(1))
        assert len(shown) == len(metric.readings) + (metric.chance is not None)
    assert 'id="sums-anova_share"' in page
    for probe in PROBES:
        assert f'aria-label="Site balanced accuracy, {probe.replace("_", " ")}' in page


def test_says_what_happened(page: str) -> None:
    """Catches a summary that tells other numbers than the metrics, or forgets who is missing."""
    words = re.sub(r"\s+", " ", "".join(Page(page).text))
    assert (
        "A random forest told the site of held-out people from raw values in 79 % of cases "
        "(chance 33 %), from harmonized values in 36 %, within what chance gives." in words
    )
    assert "Batch means differed in 84 % of features before and in 6 % after" in words
    assert "age with R² 0.40 from raw and 0.42 from harmonized values" in words
    assert "elm did not answer in time (code timeout)" in words
    assert "1 feature does not vary." in words
    assert "54 rows are few" in words
    assert "no table of people left a hospital: what left are sums" in words
    assert "no person's data" not in words
    assert "dune took no part in the fit and was harmonized with the finished model" in words


@pytest.mark.usefixtures("undrawn")
def test_few_people_and_what_sites_learn(tmp_path: Path) -> None:
    """Catches sums of three people that are passed over, and a site probe that is said to tell
    the sites nothing of each other."""
    few = {"site": SITES[0], "batch": "prisma", "role": "fit", "fit": 3, "held_out": 1}
    many = {**few, "site": SITES[1], "fit": 30}
    probes = {"site": SITES[0], "phase": "evaluation_probes", "class": "sum", "array": "t"}
    sent = [{**probes, "dtype": "float64", "shape": [2], "bytes": 16}]
    folder = write_study(
        tmp_path, run={"batches": [few, many], "received": sent}, metrics=SUMS_ALONE
    )
    words = re.sub(r"\s+", " ", "".join(Page(study_page(folder)).text))
    assert f"the coordinator received them of: {SITES[0]}/prisma (3)." in words
    assert "the weights of the site probe (evaluation_probes) go to every hospital" in words
    assert "How well the covariates alone tell the site was not read" in words


def test_account_of_what_left(page: str) -> None:
    """Catches bytes that do not add up, or an array that is not listed."""
    p, names = 40, [len(site) for site in SITES]
    total = sum(900 + n + 8 * p + 2 * 16 * p for n in names)
    words = re.sub(r"\s+", " ", "".join(Page(page).text))
    assert f"{total / 1000:.1f} kB in all" in words
    for array in ("description", "sum_y", "ss"):
        assert f"<code>{array}</code>" in page
    assert "sum of every feature" in words
    assert "site probe (evaluation_probes)" not in words  # this study's evaluation sent none
    assert "come close to single people's values" not in words  # nor are its batches small


def test_same_bytes(tmp_path: Path, page: str) -> None:
    """Catches a date, a random id or an order that changes from run to run."""
    assert study_page(write_study(tmp_path)) == page


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("evaluation.npz", "Site effect and biology"),
        ("metrics.json", "The study was not judged"),
        ("shared", "Provenance"),
    ],
)
def test_missing_parts(gone: str, said: str, tmp_path: Path) -> None:
    """Catches a report that fails, or shows an empty section, where a study lacks a part."""
    folder = write_study(tmp_path, metrics=SUMS_ALONE)
    path = folder / gone
    if path.is_dir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    else:
        path.unlink()
    text = study_page(folder)
    assert said in text
    assert Page(text).open == []
    assert ('id="shared"' in text) == (gone != "shared")
    assert ("Features, one by one" in text) == (gone == "shared")


def test_nothing_known(tmp_path: Path) -> None:
    """Catches a bare deployed study: no counts, no record, nobody missing, unknown method."""
    bare = {"mode": "deployed", "people": None, "missing": {}, "received": [], "versions": {}}
    folder = write_study(
        tmp_path,
        run=bare,
        plan={"method": "from-elsewhere", "held_out": 0.0},
        metrics={"judgements": {}, "warnings": None},
    )
    text = study_page(folder)
    assert "No hospital is missing" in text
    assert "no record" in text
    assert "from-elsewhere" in text


def test_no_study(tmp_path: Path) -> None:
    """Catches a traceback for a folder that holds no study."""
    with pytest.raises(ModelError, match=r"run\.json is missing"):
        write_study_report(tmp_path, site_pages="left out")


def test_large(tmp_path: Path) -> None:
    """Catches a report that grows with sites or features past what can be mailed."""
    sites = [f"hospital{k:02d}" for k in range(23)]
    folder = write_study(tmp_path, p=100_000, sites=sites)
    small = "<!-- site page begins -->" + "<p>x</p>" * 60_000 + "<!-- site page ends -->"
    for site in sites:
        (folder / "sites" / site).mkdir(parents=True)
        (folder / "sites" / site / "report.html").write_text(small)
    started = time.perf_counter()
    path = write_study_report(folder, site_pages="shown")
    assert time.perf_counter() - started < 10
    assert path.stat().st_size < 5_000_000
    assert "exceed 5 MB" in path.read_text()
