"""What operators do to the channels they read: a transfer function for each."""
