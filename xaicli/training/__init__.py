"""Training: data, the loop, checkpoints, and what is reported afterwards."""
