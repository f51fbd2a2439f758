"""One photo's maps under metrics, from maps to rows."""
