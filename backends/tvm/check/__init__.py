"""Kernels run on their own, and compared with what their descriptions mean."""
