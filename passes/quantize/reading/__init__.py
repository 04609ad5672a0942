"""Quantized graphs as they are found, of any tool."""
