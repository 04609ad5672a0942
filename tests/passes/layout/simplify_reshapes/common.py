"""Constants of all bodies, and a check of what is left of one."""

from __future__ import annotations

import re

import numpy as np

from tests.helpers import model_of

PASS = "simplify-reshapes,eliminate-dead-code"


def ints(*values):
    return np.array(values, np.int64)


WEIGHTS = {
    "i0": np.array(0, np.int64),
    "i2": np.array(2, np.int64),
    "z": ints(0),
    "m1": ints(-1),
    "one": ints(1),
    "two": ints(2),
    "three": ints(3),
    "four": ints(4),
    "ax23": ints(2, 3),
    "ax4": ints(4),
    "t72": ints(72),
    "half": np.float32(0.5),
    "c8": np.random.default_rng(1).standard_normal((8, 1, 1)).astype(np.float32),
    "keep": ints(0, -1),
    "mid": ints(-1, 4, 2, 9),
    "joined": ints(0, 8, -1),
    "four_and": ints(0, 4, -1),
    "halves": ints(-1, 4, 2, 3, 3),
    "back": ints(-1, 8, 3, 3),
    "scale2": ints(2, 2),
    "ones": ints(1, 1),
    "rows": ints(-1, 9),
}


def model(body, batch="N", opset=20):
    words = set(re.findall(r"\w+", body))
    return model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[{batch}, 8, 3, 3] x) => (float[] y) {{ r = Relu(x) {body} }}""",
        {name: values for name, values in WEIGHTS.items() if name in words},
    )
