"""Training: data, the loop, checkpoints, and the report afterwards."""
