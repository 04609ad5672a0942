"""Models in and out of files: whole, or one clear refusal."""
