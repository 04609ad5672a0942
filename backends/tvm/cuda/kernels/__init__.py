"""Tensor expressions and their schedules for NVIDIA GPUs."""
