"""What people look at models with: each tool works on graphs and on what runs have told."""
