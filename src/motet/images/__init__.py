"""Brain images at a site: read from NIfTI in one orientation, written back in their own."""
