"""A Relax program to a library for the host and a binary for the GPU."""
