"""Occlusion, and passes that run early layers only around the hidden box."""
