"""LFI-CAM: the feature importance branch, the network that holds it, its training and its maps."""
