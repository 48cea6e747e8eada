"""BIDS-like folders: reading, writing derivatives, splitting a pooled table."""
