"""Judging a harmonization: is the site effect gone, and is the biology still there."""
