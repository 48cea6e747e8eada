"""A Methods paragraph ready to paste, generated from the study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from motet.evaluation.result import Judgement
from motet.harmonizer import Card
from motet.images.measures import EACH
from motet.report.installed import installed
from motet.report.leaving import leaving, read_by_holders
from motet.report.methods_training import torch_version, trained
from motet.report.participation import covariates_in_full, scanners
from motet.report.privacy import in_methods
from motet.report.read import StudyFiles
from motet.report.references import (
    FLOWER,
    NUMPY,
    SCIPY,
    SECURE_SUM,
    SKLEARN,
    SPLINES,
    Citations,
    Reference,
    of_paper,
)
from motet.report.words import count, joined, percent

PLATFORM = ("covariates", "batch", "train")
"""Parameters that every method has; the paragraph speaks of them elsewhere."""

PROBES = {
    "site_accuracy_linear_svm": "a linear support vector machine",
    "site_accuracy_rbf_svm": "a support vector machine with radial basis functions",
    "site_accuracy_random_forest": "a random forest",
    "site_accuracy_lda": "a linear discriminant from summed cross-products",
}
TESTS = {
    "anova_share": "F tests of batch means",
    "kruskal_share": "Kruskal-Wallis tests",
    "levene_share": "Levene tests of batch variances",
    "anderson_darling_share": "Anderson-Darling k-sample tests",
}
BIOLOGY = {
    "r2_": "R² and mean absolute error of ridge regressions of {} on the features",
    "auc_": "the area under the ROC curve for {}",
    "effect_kept_": "standardized effects of {}, harmonized against raw",
    "invented_effect_share_": "the share of features with p < 0.05 for {} shuffled before "
    "harmonizing",
}
"""Families of metrics, each of one or several columns."""
OTHER = {
    "covariates_r2": "the partial R² of the covariates",
    "icc_travelers": "the intraclass correlation of travelers",
    "mae_to_truth": "the mean absolute error to the known truth",
}


@dataclass(frozen=True, kw_only=True)
class MethodsText:
    """The paragraph, its references and their BibTeX."""

    paragraph: str
    references: tuple[Reference, ...]
    bibtex: str


def methods_text(study: StudyFiles, card: Card | None) -> MethodsText:
    """Write the paragraph; `card` is the method's, None where it is not installed here."""
    cited = Citations()
    paragraph = " ".join(
        [
            *_harmonized(study, card, cited),
            *trained(study, cited),
            *_federated(study, cited),
            *_judged(study, cited),
            *_made_with(study, cited),
        ]
    )
    return MethodsText(paragraph=paragraph, references=cited.references, bibtex=cited.bibtex)


def options(study: StudyFiles) -> str:
    """``prior: parametric; adjust: location and scale``: what is set and has an effect.

    Without what is the platform's own.
    """
    here = installed(study)
    apart = {*PLATFORM, *(here[1].unread if here else ())}
    said = []
    for name, value in study.plan.get("params", {}).items():
        if name in apart or value in (None, {}, []):
            continue
        if isinstance(value, Mapping):
            value = joined(list(map(str, value)))
        said.append(f"{name.replace('_', ' ')}: {str(value).replace('_', ' and ')}")
    return "; ".join(said)


def _harmonized(study: StudyFiles, card: Card | None, cited: Citations) -> Iterator[str]:
    plan = study.plan
    sites = {str(b["site"]) for b in study.fitted}
    papers = cited.cite(*(of_paper(line) for line in card.papers)) if card else ""
    title = " ".join(part for part in (card.title if card else str(plan["method"]), papers) if part)
    of_whom = f" (n = {study.people} in the fit)" if study.people is not None else ""
    said = options(study)
    measures = count(len(study.features), "measure")
    yield (
        f"{f'{joined(study.contrasts)} images' if study.contrasts else measures} of "
        f"{count(scanners(study), 'batch', 'batches')} (scanners or protocols) at "
        f"{count(len(sites), 'hospital')}{of_whom} were harmonized with {title}"
        f"{f' ({said})' if said else ''}, as implemented in Motet {study.run['motet']}."
    )
    if kept := covariates_in_full(study):
        curved = any("spline" in c for c in plan["schema"]["covariates"])
        yield (
            f"The effects of {kept}{f' {cited.cite(SPLINES)}' if curved else ''} were modelled "
            "together with those of the batches and kept."
        )
    else:
        yield "No covariates were modelled."
    if study.unseen:
        yield (
            f"{joined(study.unseen)} took no part in the fit and "
            f"{'was' if len(study.unseen) == 1 else 'were'} harmonized with the finished model."
        )


def _federated(study: StudyFiles, cited: Citations) -> Iterator[str]:
    account = leaving(study)
    version = study.run.get("versions", {}).get("flwr", "")
    present = [leaves for leaves, _ in account.classes if leaves != "schema"]
    classes = {
        "sum": "sums",
        "masked": "masked sums",
        "update": "updates",
        "published": "published estimates",
        "sealed": "estimates sealed for one hospital each",
        "personal": "what consenting travelers' own scans came to",
    }
    sent = joined([classes.get(kind, kind) for kind in present])
    what = f" ({sent}, declared beforehand; at most {account.fit} a hospital" if sent else ""
    if what and account.evaluation:
        what += f", and {account.evaluation} for the evaluation"
    what += ")" if what else ""
    personal = (
        ", but for anatomy or quantiles of the scans of travelers with a recorded consent. The "
        "hospitals exchanged these and"
    )
    yield (
        "Individual data stayed at the hospitals"
        f"{personal if 'personal' in present else ', which exchanged'} summaries{what} over "
        f"Flower {version}{' ' if version else ''}{cited.cite(FLOWER)}."
    )
    if read_by_holders(study):
        yield (
            "What travelers' scans came to was added where the coordinator could not read it; the "
            "hospitals that scanned a traveler read the sum (where they are two, so each other's "
            "part)."
        )
    if "masked" in present:
        yield (
            "Sums were masked, so that the coordinator read what they came to over all hospitals "
            f"and, but for what is of one scanner alone, no single one's {cited.cite(SECURE_SUM)}."
        )
    if private := in_methods(study):
        yield private
    if study.simulated:
        yield (
            "The federation was simulated on one machine, with the code that a deployed one runs."
        )


def _judged(study: StudyFiles, cited: Citations) -> Iterator[str]:
    judged = study.judgement
    if judged is None:
        return
    if study.contrasts:
        which = f"{joined(study.contrasts)} images" if len(study.contrasts) > 1 else "Images"
        yield (
            f"{which} were judged by {count(EACH, 'measure')} of each: quantiles of "
            "the intensities within the brain mask, and intensities and volumes of CSF, GM and WM "
            "by three-class k-means."
        )
    held = float(study.plan.get("held_out") or 0.0)
    if judged.held_out and held:
        yield (
            f"{percent(held)} of the people (drawn by person, seed {study.plan['seed']}) were kept "
            f"out of the fit, and the harmonization was judged on {judged.n} rows of theirs."
        )
    else:
        yield f"It was judged on {judged.people}, {judged.n} rows."
    yield from _site_effect(judged, study, cited)
    if biology := _biology(judged):
        yield f"Whether biology is kept was judged by {joined(biology)}."


def _biology(judged: Judgement) -> list[str]:
    """What biology was judged by, with the columns that each was computed for."""
    columns = {
        family: [m.name.removeprefix(family) for m in judged.metrics if m.name.startswith(family)]
        for family in BIOLOGY
    }
    found = [
        words.format(joined(columns[family]))
        for family, words in BIOLOGY.items()
        if columns[family]
    ]
    return [*found, *(words for name, words in OTHER.items() if judged.has(name))]


def _site_effect(judged: Judgement, study: StudyFiles, cited: Citations) -> Iterator[str]:
    probes = [words for name, words in PROBES.items() if judged.has(name)]
    if probes:
        source = f" (scikit-learn {cited.cite(SKLEARN)})" if judged.source == "simulation" else ""
        kinds = {judged.metric(name).band_from for name in PROBES if judged.has(name)} - {""}
        bands = {
            "permutation": "permuted labels",
            "binomial": "a binomial distribution at chance",
        }
        against = (
            f", against what {joined([bands[kind] for kind in sorted(kinds, reverse=True)])} "
            f"{'give' if 'permutation' in kinds else 'gives'} in 95{chr(0x202F)}% of draws"
            if kinds
            else ""
        )
        yield (
            f"Site effects were judged by the balanced accuracy with which {joined(probes)}{source}"
            f", retrained on each version of the data, {'tell' if len(probes) > 1 else 'tells'} "
            f"the site{against}."
        )
    tests = [words for name, words in TESTS.items() if judged.has(name)]
    if tests:
        yield (
            f"For each feature, {joined(tests)} were computed after regression on the covariates; "
            "we report the share of features with p < 0.05, uncorrected."
        )


def _made_with(study: StudyFiles, cited: Citations) -> Iterator[str]:
    versions = study.run.get("versions", {})
    papers = {"numpy": ("NumPy", NUMPY), "scipy": ("SciPy", SCIPY)}
    parts = [f"Python {versions['python']}"] if "python" in versions else []
    parts += [
        f"{title} {versions[name]} {cited.cite(paper)}"
        for name, (title, paper) in papers.items()
        if name in versions
    ]
    if torch := torch_version(study, cited):
        parts.append(torch)
    if parts:
        yield f"Software: {joined(parts)}."
    yield (
        f"The plan of the study has the SHA-256 {study.run['plan'][:16]}…, its shared model "
        f"{study.run['model'][:16]}…"
    )
