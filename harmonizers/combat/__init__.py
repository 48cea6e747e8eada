"""ComBat, exact, in one summed round."""

from motet.harmonizers.combat.method import ComBat

HARMONIZER = ComBat()
