"""Functional normalization: quantiles freed of what control voxels explain."""

from motet.harmonizers.functional_normalization.method import FunctionalNormalization

HARMONIZER = FunctionalNormalization()
