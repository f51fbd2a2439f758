"""How fast and how large: `python -m benchmarks` prints figures with the limits they are held to."""
