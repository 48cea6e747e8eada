"""The site process: data access, the outgoing gate, the site's own work, apply."""

from motet.client.worker import SiteWorker

__all__ = ["SiteWorker"]
