"""ROAD: removal by noisy linear imputation."""
