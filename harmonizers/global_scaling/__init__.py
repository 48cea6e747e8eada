"""Global scaling: a linear map of intensities for every scanner."""

from motet.harmonizers.global_scaling.method import GlobalScaling

HARMONIZER = GlobalScaling()
