"""Gradient training over sites: the phase ``Train``, what a site does in it, and the optimizers.

``phase``, ``options``, ``moment``, ``log``, ``telling`` and ``where`` are plain data and words,
read wherever plans are; all else imports torch, when networks are built and not before.
"""
