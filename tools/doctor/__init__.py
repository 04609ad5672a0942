"""Who makes a model's numbers wrong, or a model slow."""
