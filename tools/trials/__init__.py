"""One network at a time, as tasks: built by a pipeline, judged beside the original, measured."""
