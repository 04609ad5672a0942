"""Layers as products of smaller ones: depthwise, low rank, separable, Tucker."""
