"""Randomised weights: does a map depend on what the network has learned?"""
