"""References for a Methods section: text and BibTeX.

A method's card names its papers in a line each, with a DOI. Those known here are given in full;
of any other, BibTeX gets the line and the DOI.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DOI = re.compile(r"\bdoi:\s*(10\.\d{4,9}/\S*[^\s.,;)])")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One publication."""

    key: str
    authors: tuple[str, ...] = ()
    title: str = ""
    journal: str = ""
    year: str = ""
    volume: str = ""
    pages: str = ""
    doi: str = ""
    line: str = ""

    @property
    def text(self) -> str:
        """As it stands in a list of references, without the DOI."""
        if self.line:
            return self.line
        names = ", ".join(self.authors[:3]) + (" et al" if len(self.authors) > 3 else "")
        place = " ".join(part for part in (self.journal, self.volume) if part)
        place += f":{self.pages}" if self.pages else ""
        return f"{names.rstrip('.')}. {self.title}. {place} ({self.year})."

    @property
    def bibtex(self) -> str:
        """As a BibTeX entry."""
        if self.line:
            fields = {"note": self.line, "doi": self.doi}
            kind = "misc"
        else:
            kind = "article"
            fields = {
                "author": " and ".join(self.authors),
                "title": f"{{{self.title}}}",
                "journal": self.journal,
                "year": self.year,
                "volume": self.volume,
                "pages": self.pages.replace("–", "--"),
                "doi": self.doi,
            }
        body = ",\n".join(f"  {k} = {{{_escaped(v)}}}" for k, v in fields.items() if v)
        return f"@{kind}{{{self.key},\n{body}\n}}"


def _escaped(text: str) -> str:
    """Characters that TeX reads otherwise; braces are ours where they protect a title."""
    return re.sub(r"([&%#_$])", r"\\\1", text)


KNOWN = (
    Reference(
        key="hu2024deepcombat",
        authors=(
            *("Hu, F.", "Lucas, A.", "Chen, A. A.", "Coleman, K.", "Horng, H.", "Ng, R. W. S."),
            *("Tustison, N. J.", "Davis, K. A.", "Shou, H.", "Li, M.", "Shinohara, R. T."),
        ),
        title="DeepComBat: A statistically motivated, hyperparameter-robust, deep learning "
        "approach to harmonization of neuroimaging data",
        journal="Human Brain Mapping",
        year="2024",
        volume="45",
        pages="e26708",
        doi="10.1002/hbm.26708",
    ),
    Reference(
        key="silva2023fedcombat",
        authors=("Silva, S.", "Oxtoby, N.", "Altmann, A.", "Lorenzi, M."),
        title="Fed-ComBat: A Generalized Federated Framework for Batch Effect Harmonization in "
        "Collaborative Studies",
        journal="bioRxiv",
        year="2023",
        pages="2023.05.24.542107",
        doi="10.1101/2023.05.24.542107",
    ),
    Reference(
        key="johnson2007combat",
        authors=("Johnson, W. E.", "Li, C.", "Rabinovic, A."),
        title="Adjusting batch effects in microarray expression data using empirical Bayes methods",
        journal="Biostatistics",
        year="2007",
        volume="8",
        pages="118–127",
        doi="10.1093/biostatistics/kxj037",
    ),
    Reference(
        key="fortin2017dti",
        authors=(
            *("Fortin, J.-P.", "Parker, D.", "Tunç, B.", "Watanabe, T.", "Elliott, M. A."),
            *("Ruparel, K.", "Roalf, D. R.", "Satterthwaite, T. D.", "Gur, R. C.", "Gur, R. E."),
            *("Schultz, R. T.", "Verma, R.", "Shinohara, R. T."),
        ),
        title="Harmonization of multi-site diffusion tensor imaging data",
        journal="NeuroImage",
        year="2017",
        volume="161",
        pages="149–170",
        doi="10.1016/j.neuroimage.2017.08.047",
    ),
    Reference(
        key="fortin2018thickness",
        authors=(
            *("Fortin, J.-P.", "Cullen, N.", "Sheline, Y. I.", "Taylor, W. D.", "Aselcioglu, I."),
            *("Cook, P. A.", "Adams, P.", "Cooper, C.", "Fava, M.", "McGrath, P. J."),
            *("McInnis, M.", "Phillips, M. L.", "Trivedi, M. H.", "Weissman, M. M."),
            "Shinohara, R. T.",
        ),
        title="Harmonization of cortical thickness measurements across scanners and sites",
        journal="NeuroImage",
        year="2018",
        volume="167",
        pages="104–120",
        doi="10.1016/j.neuroimage.2017.11.024",
    ),
)

FLOWER = Reference(
    key="beutel2020flower",
    authors=("Beutel, D. J.", "Topal, T.", "Mathur, A.", "Qiu, X.", "others"),
    title="Flower: A friendly federated learning research framework",
    journal="arXiv",
    year="2020",
    pages="2007.14390",
    doi="10.48550/arXiv.2007.14390",
)
SECURE_SUM = Reference(
    key="bonawitz2017practical",
    authors=("Bonawitz, K.", "Ivanov, V.", "Kreuter, B.", "Marcedone, A.", "others"),
    title="Practical secure aggregation for privacy-preserving machine learning",
    journal="Proceedings of the 2017 ACM SIGSAC Conference on Computer and Communications Security",
    year="2017",
    pages="1175–1191",
    doi="10.1145/3133956.3133982",
)
FEDAVG = Reference(
    key="mcmahan2017communication",
    authors=("McMahan, B.", "Moore, E.", "Ramage, D.", "Hampson, S.", "Agüera y Arcas, B."),
    title="Communication-efficient learning of deep networks from decentralized data",
    journal="Proceedings of the 20th International Conference on Artificial Intelligence and "
    "Statistics",
    year="2017",
    volume="54",
    pages="1273–1282",
    doi="10.48550/arXiv.1602.05629",
)
FEDPROX = Reference(
    key="li2020federated",
    authors=("Li, T.", "Sahu, A. K.", "Zaheer, M.", "Sanjabi, M.", "Talwalkar, A.", "Smith, V."),
    title="Federated optimization in heterogeneous networks",
    journal="Proceedings of Machine Learning and Systems",
    year="2020",
    volume="2",
    pages="429–450",
    doi="10.48550/arXiv.1812.06127",
)
SCAFFOLD = Reference(
    key="karimireddy2020scaffold",
    authors=("Karimireddy, S. P.", "Kale, S.", "Mohri, M.", "Reddi, S.", "Stich, S.", "others"),
    title="SCAFFOLD: stochastic controlled averaging for federated learning",
    journal="Proceedings of the 37th International Conference on Machine Learning",
    year="2020",
    volume="119",
    pages="5132–5143",
    doi="10.48550/arXiv.1910.06378",
)
FEDADAM = Reference(
    key="reddi2021adaptive",
    authors=("Reddi, S.", "Charles, Z.", "Zaheer, M.", "Garrett, Z.", "others"),
    title="Adaptive federated optimization",
    journal="International Conference on Learning Representations",
    year="2021",
    doi="10.48550/arXiv.2003.00295",
)
FEDEXP = Reference(
    key="jhunjhunwala2023fedexp",
    authors=("Jhunjhunwala, D.", "Wang, S.", "Joshi, G."),
    title="FedExP: Speeding up federated averaging via extrapolation",
    journal="International Conference on Learning Representations",
    year="2023",
    doi="10.48550/arXiv.2301.09604",
)
TORCH = Reference(
    key="paszke2019pytorch",
    authors=("Paszke, A.", "Gross, S.", "Massa, F.", "Lerer, A.", "others"),
    title="PyTorch: An imperative style, high-performance deep learning library",
    journal="Advances in Neural Information Processing Systems",
    year="2019",
    volume="32",
    pages="8024–8035",
    doi="10.48550/arXiv.1912.01703",
)
SPLINES = Reference(
    key="hastie2009elements",
    line="Hastie, T., Tibshirani, R., Friedman, J. The Elements of Statistical Learning, 2nd ed., "
    "section 5.2.1. Springer (2009).",
    doi="10.1007/978-0-387-84858-7",
)
SKLEARN = Reference(
    key="pedregosa2011sklearn",
    authors=("Pedregosa, F.", "Varoquaux, G.", "Gramfort, A.", "Michel, V.", "others"),
    title="Scikit-learn: Machine learning in Python",
    journal="Journal of Machine Learning Research",
    year="2011",
    volume="12",
    pages="2825–2830",
)
NUMPY = Reference(
    key="harris2020numpy",
    authors=("Harris, C. R.", "Millman, K. J.", "van der Walt, S. J.", "Gommers, R.", "others"),
    title="Array programming with NumPy",
    journal="Nature",
    year="2020",
    volume="585",
    pages="357–362",
    doi="10.1038/s41586-020-2649-2",
)
SCIPY = Reference(
    key="virtanen2020scipy",
    authors=("Virtanen, P.", "Gommers, R.", "Oliphant, T. E.", "Haberland, M.", "others"),
    title="SciPy 1.0: Fundamental algorithms for scientific computing in Python",
    journal="Nature Methods",
    year="2020",
    volume="17",
    pages="261–272",
    doi="10.1038/s41592-019-0686-2",
)


def of_paper(line: str) -> Reference:
    """The reference that a card's line means."""
    found = DOI.search(line)
    doi = found.group(1) if found else ""
    for reference in KNOWN:
        if doi and reference.doi == doi:
            return reference
    text = DOI.sub("", line).strip().rstrip(",").rstrip() if found else line.strip()
    year = re.search(r"\b(19|20)\d\d\b", line)
    name = re.match(r"[^\W\d_]+", line)
    key = f"{name.group(0).lower() if name else 'paper'}{year.group(0) if year else ''}"
    return Reference(key=key, line=f"{text.rstrip('.')}.", doi=doi)


class Citations:
    """Numbers references in the order in which a text cites them."""

    def __init__(self) -> None:
        self._cited: list[Reference] = []

    def cite(self, *references: Reference) -> str:
        """``[1, 2]``, and remember."""
        for reference in references:
            if reference not in self._cited:
                self._cited.append(reference)
        numbers = sorted(self._cited.index(reference) + 1 for reference in references)
        return f"[{', '.join(map(str, numbers))}]" if numbers else ""

    @property
    def references(self) -> tuple[Reference, ...]:
        """All that were cited, in order."""
        return tuple(self._cited)

    @property
    def bibtex(self) -> str:
        """All of them as BibTeX; a key that two would share gets a letter."""
        entries, used = [], set()
        for reference in self._cited:
            key = reference.key
            for letter in "bcdefghijklmnopqrstuvwxyz":
                if key not in used:
                    break
                key = f"{reference.key}{letter}"
            used.add(key)
            entries.append(reference.bibtex.replace(f"{{{reference.key},", f"{{{key},", 1))
        return "\n\n".join(entries)
