"""Memory of a training: what a step frees, the next step has again.

Of what is freed, glibc gives the top of the heap back to the system, which clears every page before
it lends it anew: 18,000 pages a step of CALAMITI's `small` networks, a twelfth of the time
(``benchmarks/results/calamiti_throughput.md``).
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of glibc's malloc.h."""
KEPT = 2**31 - 1
"""Bytes free at the top of the heap, beyond which it shrinks: the most that can be said."""
LARGE = 2**25
"""Bytes of a block that is mapped on its own, and given back at once: the most that can be said."""


@cache
def keep_what_is_freed() -> bool:
    """Let this process keep up to 2 GiB that it has freed, until it ends.

    Returns
    -------
    bool
        Whether it does. False without glibc: other allocators are as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all([mallopt(MMAP_THRESHOLD, LARGE), mallopt(TRIM_THRESHOLD, KEPT)])
