"""Scripts of others, as their packages ship them; README.md says which."""
