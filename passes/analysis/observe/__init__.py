"""Inner tensors of a graph over feeds: run for their sake, in constant memory."""
