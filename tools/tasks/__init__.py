"""Work in pieces that run in processes of their own, on this machine or on others, once."""
