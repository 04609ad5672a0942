"""Values that follow from constants, shapes and attributes."""
