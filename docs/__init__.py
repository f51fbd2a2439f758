"""Pages of the documentation, and what generates their figures."""
