"""Pipelines as text, and a run of one over a graph."""
