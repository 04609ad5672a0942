"""Named pipelines. A preset's text may name passes and other presets."""

from __future__ import annotations

# The word before a group of passes that runs until none of them edits.
REPEAT = "repeat"
# The word before a group of passes that is given up as a whole where one of them goes back, and
# that before what runs then, which stands last in it.
ATTEMPT = "attempt"
OTHERWISE = "otherwise"
GROUPS = frozenset({REPEAT, ATTEMPT, OTHERWISE})

# Functions first: nothing sees through a call. Then constants: exporters hide weights behind shape
# arithmetic that later passes must see through. What creates constants goes before what compares
# them.
_CLEANUP = (
    "inline-functions",
    "fold-constants",
    "inline-constant-branches",
    "unroll-loops",
    "eliminate-dead-code",
    "eliminate-sequences",
    "eliminate-casts",
    "eliminate-quantize-pairs",
    "eliminate-identities",
    "merge-slices",
    "eliminate-unused-inputs",
    "eliminate-common-subexpressions",
    "deduplicate-constants",
)

# Before anything is folded into weights: the scalars of an activation or a normalization spelled
# out look like affine maps. Reshapes go first, since their targets hide what is joined and split,
# and normalizations before pooling, which would take their means.
_RECOGNITION = (
    "simplify-reshapes",
    "recognize-activations",
    "recognize-normalizations",
    "recognize-pooling",
    "recognize-depth-to-space",
    "eliminate-transposes",
)

# Pads go in before maps are pushed past them. Up into the operator before costs nothing, so it is
# tried before down into the next. An identity branch keeps its normalization until the branches
# have been merged; what nothing took in is lowered last, and the parts may go in after all.
_LINEAR = (
    "fold-pad",
    "fold-affine",
    "fold-batchnorm",
    "split-batchnorm",
    "compose-linear",
    "merge-parallel-convolutions",
    "push-affine",
    "pool-before-pointwise",
    "remove-constant-channels",
    "absorb-channel-shuffle",
    "merge-sibling-convolutions",
    "lower-batchnorm",
)

# A scale lifted into the queries of attention gives them another range than keys and values have,
# which come from the same layer: 8 bits would have to hold both.
_LIFTING = ("lift-affine",)

# What the passes before leave behind.
_COLLECTION = (
    "eliminate-dead-code",
    "deduplicate-constants",
    "eliminate-unused-functions",
)

# At the end: what changes operators for the runtime's sake alone, and fused operators, which
# are closed to the passes above. Larger patterns go first, and pooling extends what the activations
# made.
_FUSION = (
    "align-depthwise",
    "fuse-squeeze-excite",
    "fuse-matmul-bias",
    "fuse-conv-activation",
    "fuse-conv-pool",
    *_COLLECTION,
)


# Accuracy first, while weights are floats: scales between channels, then weights on their grid; the
# pairs come last. Fused operators would only be opened again.
_ALIGNMENT = ("align-depthwise{multiple=16}", "lower-conv-transpose", *_COLLECTION)
_PREPARED = (*_ALIGNMENT, "equalize-ranges", "round-adaptively", "quantize")


def _repeat(*passes: str) -> str:
    return f"{REPEAT}({','.join(passes)})"


_UNFUSED = _repeat(*_CLEANUP, *_RECOGNITION, *_LINEAR, *_LIFTING)
# Fusion may leave what the passes before it can take further: a Gemm where MatMul and Add were.
_EXACT = _repeat(_UNFUSED, *_FUSION)


_FOLDED = _repeat(*_CLEANUP, *_RECOGNITION, *_LINEAR)
# Behind `quantize` once more: pairs that movements part, operators that were opened for integers
# and stay float, and scales that are alike. A second run finds nothing then.
_INT8 = (*_PREPARED, _FOLDED, *_COLLECTION)
# What "int8" does to a float graph that computes the same.
BEFORE_INTEGERS = ",".join([_FOLDED, *_ALIGNMENT])


def _attempt(passes: tuple[str, ...], otherwise: tuple[str, ...]) -> str:
    return f"{ATTEMPT}({','.join(passes)},{OTHERWISE}({','.join(otherwise)}))"


PRESETS: dict[str, str] = {
    "exact": _EXACT,
    # Where the graph stays float, it is what `exact` makes of it.
    "int8": _attempt((_FOLDED, *_INT8), (_EXACT,)),
    # Casts part what was one pattern. Where nothing became narrow, it is what `exact` makes of it.
    "bf16": _attempt((_UNFUSED, "mix-precision", _UNFUSED, *_COLLECTION), (_EXACT,)),
    # What approximate passes start from: fused operators are closed to them.
    "simplify": ",".join([_UNFUSED, *_COLLECTION]),
    "cleanup": ",".join([_repeat(*_CLEANUP), "eliminate-unused-functions"]),
}

# What each preset is for, in one sentence.
SUMMARIES: dict[str, str] = {
    "exact": "Everything that makes a network smaller or faster and computes the same",
    "int8": "Everything exact, then 8-bit integers: ranges equalized, weights rounded, quantized",
    "bf16": "Everything exact, then bfloat16 where the outputs stay close to those of float32",
    "simplify": "Everything exact but for fused operators: what approximate passes start from",
    "cleanup": "What computes nothing, computes twice or computes what is known goes",
}
