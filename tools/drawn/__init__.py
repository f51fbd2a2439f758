"""Drawn scenes of coloured shapes, and two small networks that learn to find and to name them, for the README's pictures."""
