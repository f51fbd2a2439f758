"""Many altered inputs through one model: the queue, devices, memory, seeds, baselines."""
