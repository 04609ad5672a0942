"""Grids of integers: formats, scales, zero points, blocks."""
