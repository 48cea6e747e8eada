"""RAVEL: patterns of control voxels taken out of all voxels."""

from motet.harmonizers.ravel.method import Ravel

HARMONIZER = Ravel()
