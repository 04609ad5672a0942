"""Weights and structure taken over from another model."""
