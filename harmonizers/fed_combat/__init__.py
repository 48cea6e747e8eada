"""Fed-ComBat: ComBat about any differentiable function of the covariates, trained by all sites."""

from motet.harmonizers.fed_combat.method import FedComBat

HARMONIZER = FedComBat()
