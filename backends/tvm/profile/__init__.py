"""Where the time of a compiled network goes, beside the peak of the machine."""
