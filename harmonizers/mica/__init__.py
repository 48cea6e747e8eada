"""MICA: distributions of intensities brought from scanner to scanner."""

from motet.harmonizers.mica.method import Mica

HARMONIZER = Mica()
