"""Z-score: intensities in standard deviations of the brain."""

from motet.harmonizers.z_score.method import ZScore

HARMONIZER = ZScore()
