"""The one adapter to Flower: message layout, the in-process grid, and sites as actors of Ray's.

Private names of Flower are used here and nowhere else. Flower is pinned exactly, and
``tests/kernel/test_flower_contract.py`` fails when a pinned fact changes.
"""

import os

# Flower phones home unless both are set before it is imported.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
