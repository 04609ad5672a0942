"""What a pass is, what it is given, and how its rewrites are run."""
