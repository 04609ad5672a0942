"""A scale for each channel of what integers give to floats."""
