"""Scaling channels between layers: which may be scaled, what it is worth, and by how much."""
