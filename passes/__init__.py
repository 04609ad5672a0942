"""Passes over a graph: the contract, the registry, the pipeline, and the passes themselves."""
