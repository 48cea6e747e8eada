"""The site process: data access, the outgoing gate, the site's own work, apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motet.client.worker import SiteWorker

__all__ = ["SiteWorker"]


def __getattr__(name: str) -> Any:
    # On first use: the network process has no data, and loads nothing that reads them.
    if name == "SiteWorker":
        from motet.client.worker import SiteWorker

        return SiteWorker
    raise AttributeError(f"module 'motet.client' has no attribute '{name}'")
