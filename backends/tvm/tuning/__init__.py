"""Choices among kernels by measuring them: candidates, measurements, and a cache of the results."""
