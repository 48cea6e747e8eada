"""Methods whose sites keep no model: the entry points they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motet.harmonizer import SiteModel
from motet.phases import Step
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site


class ImageByImage:
    """A method that harmonizes an image from itself and the shared model, whoever's it is."""

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Nothing leaves an unseen site: its images are harmonized as all others."""
        return ()

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """A model without arrays that knows the site's batches."""
        return SiteModel(site=site.name, batches=site.batches, arrays={})


class Alone(ImageByImage):
    """A method that needs nothing of other images: no phase, no shared model, nothing leaves."""

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """No steps: there is nothing to share."""
        return ()
