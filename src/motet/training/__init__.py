"""Gradient training over sites: the phase ``Train``, what a site does in it, and the optimizers.

``phase``, ``options`` and ``moment`` are plain data, read wherever plans are; all else imports
torch, and is imported when networks are built and not before.
"""
