"""Classifiers: loading them, their view of a photo, their layers and token grids."""
