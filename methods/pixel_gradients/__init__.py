"""Gradients with respect to the photo."""
