"""Methods that need nothing of other people: the entry points they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motet.harmonizer import SiteModel
from motet.phases import Step
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site


class Alone:
    """A method that looks at one image at a time: no phase, no shared model, nothing leaves."""

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """No steps: there is nothing to share."""
        return ()

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """No steps."""
        return ()

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """A model without arrays that knows the site's batches."""
        return SiteModel(site=site.name, batches=site.batches, arrays={})
