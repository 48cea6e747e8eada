"""Secure sums: the coordinator learns the sum over sites and nothing of a single one.

Every site adds masks to what it sends: one for each other site, which cancels in the sum, and one
of its own, which the survivors let be taken off afterwards. Bonawitz et al. 2017
(doi:10.1145/3133956.3133982), with keys that people compared beforehand in the place of the first
two rounds: one exchange for the masked arrays, one to take the masks off.

``ring``: numbers as 64-bit integers; ``declared``: declared arrays there and back. ``keys``: what
pairs of sites derive from theirs. ``masks``, ``shamir``: keystreams, and secrets in shares.
``circle``: who takes part; ``party``: a site's side; ``total``: the coordinator's. ``panel``,
``held``: sums that only the holders of a key read. ``subtraction``: what follows from several sums.
``wire``: how all this is said.
"""
