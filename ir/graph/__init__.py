"""A graph: questions about its nodes, and the only way to change them."""
