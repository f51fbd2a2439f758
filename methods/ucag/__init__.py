"""UCAG: class activation maps of overlapping slices."""
