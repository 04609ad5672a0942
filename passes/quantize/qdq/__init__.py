"""Quantized graphs in QDQ form: pairs, what can stand between them, what was there before."""
