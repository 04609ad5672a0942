"""A ModelProto <-> a graph, losing nothing."""
