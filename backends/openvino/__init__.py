"""OpenVINO, Intel's runtime, on the CPU."""
