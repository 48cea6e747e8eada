"""The ledger of a site: what left it, who let it, what was refused; nobody changes it unseen.

``book``: the ledger itself. ``verify``: a script of no dependencies that checks an exported one.
"""

from motet.ledger.book import Entry, Ledger

__all__ = ["Entry", "Ledger"]
