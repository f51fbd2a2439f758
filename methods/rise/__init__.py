"""RISE: random masks, their laws and estimates."""
