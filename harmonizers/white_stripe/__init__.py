"""White Stripe: intensities in units of normal-appearing white matter."""

from motet.harmonizers.white_stripe.method import WhiteStripe

HARMONIZER = WhiteStripe()
