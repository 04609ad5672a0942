"""Layers replaced by chains of cheaper ones: depthwise, low rank, separable and Tucker."""
