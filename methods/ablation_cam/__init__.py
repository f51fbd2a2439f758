"""Ablation-CAM, and the passes that run only what follows a layer."""
