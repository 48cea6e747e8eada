"""Histogram matching: a control, not a harmonization."""

from motet.harmonizers.histogram_matching.method import HistogramMatching

HARMONIZER = HistogramMatching()
