"""What callers give a graph and get of it: inputs, outputs, their names and sizes."""
