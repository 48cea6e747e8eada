"""Harmonization methods: one folder each, both halves of it (site and coordinator).

A method holds no I/O, no transport and no Flower. To add one, copy ``_template``.
"""
