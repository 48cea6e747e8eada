"""MURD: content and style of slices disentangled by adversarial training, without pairs."""

from motet.harmonizers.murd.method import MurdHarmonizer

HARMONIZER = MurdHarmonizer()
