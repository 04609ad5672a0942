"""Masks on weights, and channels that are removed for good."""
