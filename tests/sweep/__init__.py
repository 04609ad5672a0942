"""Long sweeps over random graphs: `python -m tests.sweep`."""
