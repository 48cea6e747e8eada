"""CALAMITI: anatomy and contrast disentangled, and put together anew."""

from motet.harmonizers.calamiti.method import CalamitiHarmonizer

HARMONIZER = CalamitiHarmonizer()
