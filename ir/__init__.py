"""Ground floor: models in and out, questions about a graph, edits to a graph."""
