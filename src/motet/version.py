"""The version of the package: part of every plan hash."""

__version__ = "0.1.0"
