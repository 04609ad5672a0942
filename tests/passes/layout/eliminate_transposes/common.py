"""Random operands, and bodies between two Transposes."""

from __future__ import annotations

import re

import numpy as np

from tests.helpers import model_of

PASS = "eliminate-transposes"


GENERATOR = np.random.default_rng(7)


def normal(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


X = normal(2, 4, 5, 6)  # N, C, H, W


WEIGHTS = {
    "c": normal(4),
    "full": normal(1, 5, 6, 4),
    "column": normal(6, 1),
    "one": np.float32(0.7),
    "slope": np.abs(normal(4)),
    "lo": np.float32(-0.5),
    "hi": np.float32(0.5),
    "hw": ints(1, 2),
    "last": ints(3),
    "neg": ints(-1),
    "first": ints(0),
    "three": ints(3),
    "pads": ints(0, 1, 2, 0, 0, 0, 1, 0),
    "pads2": ints(1, 2),
    "s0": ints(1, 1),
    "e0": ints(4, 5),
    "steps": ints(2, 1),
    "short0": np.array([1, 1], np.int32),
    "short1": np.array([4, 5], np.int32),
    "short2": np.array([1, 2], np.int32),
    "reps": ints(1, 2, 1, 1),
    "tall": ints(1, 5, 1, 1),
    "scales": np.array([1, 2, 2, 1], np.float32),
    "sizes": ints(2, 10, 9, 4),
    "sz": ints(10, 9),
    "k": ints(2),
    "i1": ints(3, 0, 1),
    "i0": np.array(2, np.int64),
    "qs": np.array([0.1, 0.2, 0.3, 0.4], np.float32),
    "qs0": np.float32(0.05),
    "qz": np.zeros(4, np.int8),
    "qz0": np.int8(3),
    "sp": ints(1, 3),
}


def used(body):
    words = set(re.findall(r"\w+", body))
    return {name: values for name, values in WEIGHTS.items() if name in words}


def between(body, opset=20, batch="N", more=()):
    """Return MaxPool -> Transpose -> body, from a to b -> Transpose back -> MaxPool."""
    return model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[{batch}, 4, 5, 6] x) => (float[] y) {{
            p = MaxPool <kernel_shape = [1, 1]> (x)
            a = Transpose <perm = [0, 2, 3, 1]> (p)
            {body}
            q = Transpose <perm = [0, 3, 1, 2]> (b)
            y = MaxPool <kernel_shape = [1, 1]> (q) }}""",
        {**used(body), **dict(more)},
    )
