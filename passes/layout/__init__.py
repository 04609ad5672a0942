"""Exact passes over the order of axes and the grouping of elements: Transpose and Reshape."""
