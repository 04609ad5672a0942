"""Linear operators with constant weights: read, computed with, and written back."""
