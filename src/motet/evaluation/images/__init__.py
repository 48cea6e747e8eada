"""How a simulation judges images themselves, beside their measures.

Retrained probes on slices and distributions, tissues before and after, and where there is a second
scan or a known truth how near to it an image came. Of two contrasts, each.
"""

from motet.evaluation.images.battery import ImageBattery
from motet.evaluation.images.by_contrast import ImageBatteries
from motet.evaluation.images.true_images import TrueImages

__all__ = ["ImageBatteries", "ImageBattery", "TrueImages"]
