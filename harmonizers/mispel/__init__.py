"""MISPEL: scanners brought together by people who were scanned on all of them."""

from motet.harmonizers.mispel.method import MispelHarmonizer

HARMONIZER = MispelHarmonizer()
