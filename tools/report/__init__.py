"""What was done to a model, in one document: as JSON, and as a page that needs nothing else."""
