"""The command ``motet``: one file a command."""

from motet.cli.main import main

__all__ = ["main"]
