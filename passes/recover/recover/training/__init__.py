"""Training a graph: samples, losses, the loop, checkpoints, several processes."""
