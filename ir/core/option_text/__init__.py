"""Options as text: `name{key=value,...}`, as pipelines and targets are written."""
