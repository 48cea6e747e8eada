"""DeepComBat: a conditional variational autoencoder, then ComBat on latents and residuals."""

from motet.harmonizers.deepcombat.method import DeepComBat

HARMONIZER = DeepComBat()
