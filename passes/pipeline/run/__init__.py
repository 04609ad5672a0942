"""One run of a pipeline over a graph: what it is asked for, its steps, checks and records."""
