"""A pass and a backend for planish, in a package of their own."""
