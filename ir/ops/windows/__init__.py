"""Operators that slide a window: kernels, strides, dilations, pads."""
