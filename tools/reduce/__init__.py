"""A smaller model with the same fault."""
