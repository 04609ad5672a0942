"""Run what `planish compile --backend tvm` wrote: `python run_artifact.py model.planish`."""

import sys

import numpy as np

import planish

compiled = planish.load_compiled(sys.argv[1])
feeds = {}
for port in compiled.inputs:
    sizes = [size if isinstance(size, int) else 1 for size in port.shape]
    feeds[port.name] = np.zeros(sizes, port.dtype)
outputs = compiled(feeds)
for name, array in outputs.items():
    print(name, array.dtype, array.shape)
