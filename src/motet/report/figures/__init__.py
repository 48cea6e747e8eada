"""Figures: one file a kind. Each is an inline SVG that follows the page's light or dark colours."""
