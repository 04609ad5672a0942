"""Exact passes that carry channel permutations into weights."""
