"""The `planish` command."""
