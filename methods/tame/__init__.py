"""Trainable attention: T-TAME (TAME) and P-TAME."""
