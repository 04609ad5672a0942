"""ncnn, a runtime for small devices, on the CPU."""
