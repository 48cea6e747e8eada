"""Nyul: histograms brought together at landmarks."""

from motet.harmonizers.nyul.method import Nyul

HARMONIZER = Nyul()
