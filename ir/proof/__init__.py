"""Whether two graphs compute the same, shown window by window for all inputs."""
