"""Sizes as products of numbers and names: what shape arithmetic means."""
