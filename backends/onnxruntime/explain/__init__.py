"""Why an integer model is slower or worse than its float original, layer by layer."""
