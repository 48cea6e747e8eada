"""Copy this folder to add a method; its name without the underscore becomes importable.

Then: choose a ``name``, fill in the card, the parameters, and the three entry points. Registry,
command line, YAML validation, consent text and the conformance battery pick it up.
"""

from motet.harmonizers._template.method import Template

HARMONIZER = Template()
