"""A Relax program to machine code."""
