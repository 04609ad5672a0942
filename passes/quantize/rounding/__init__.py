"""Rounding the weights of a layer so that its output, not each weight, stays close."""
