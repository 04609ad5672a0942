"""The GPU that code is generated for."""
