"""Models x pipelines x backends: each combination built, judged and measured, in one table."""
