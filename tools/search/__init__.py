"""One budget, and what a network becomes within it: which passes, on which layers, by how much."""
