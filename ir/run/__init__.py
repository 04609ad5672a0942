"""Running a graph, what it runs on, and how far two results are apart."""
