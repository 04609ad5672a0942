"""Other types for the floats of a graph."""
