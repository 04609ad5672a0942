"""Products of tiles: Intel AMX."""
