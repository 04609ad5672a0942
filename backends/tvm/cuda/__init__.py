"""NVIDIA GPUs: channels-last programs, kernels for tensor cores, and code that nvcc compiles."""
