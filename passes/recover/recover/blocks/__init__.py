"""Blocks of a network that learn by themselves."""
