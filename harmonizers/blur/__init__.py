"""Blur: a control that destroys."""

from motet.harmonizers.blur.method import Blur

HARMONIZER = Blur()
