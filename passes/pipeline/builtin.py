"""The passes that come with planish, by name: to add one is to add its line here.

A class is imported when its pass is first asked for, so that a run waits for its own passes alone.
"""

from __future__ import annotations

import importlib

from ...ir.core.garbage_collection import paused_gc
from ..engine.contract import Pass

_PACKAGE = __name__.rpartition(".pipeline.")[0]

# The name of a pass, and its module in `passes`; the class is called like the pass.
BUILTIN: dict[str, str] = {
    "absorb-channel-shuffle": "shuffle.absorb_channel_shuffle",
    "align-channels": "quantize.lowering.align_channels",
    "align-depthwise": "shuffle.align_depthwise",
    "apply-masks": "prune.apply_masks",
    "compose-linear": "linear.compose_linear",
    "convert-opset": "opset.convert_opset",
    "convert-precision": "precision.convert_precision",
    "correct-bias": "quantize.correct_bias",
    "decompose-spatial": "decompose.decompose_spatial",
    "decompose-svd": "decompose.decompose_svd",
    "decompose-tucker": "decompose.decompose_tucker",
    "deduplicate-constants": "cleanup.deduplicate_constants",
    "depth-to-space-channels-last": "quantize.lowering.depth_to_space_channels_last",
    "dequantize-nodes": "quantize.dequantize_nodes",
    "eliminate-casts": "cleanup.eliminate_casts",
    "eliminate-common-subexpressions": "cleanup.eliminate_common_subexpressions",
    "eliminate-dead-code": "cleanup.eliminate_dead_code",
    "eliminate-identities": "cleanup.eliminate_identities",
    "eliminate-quantize-pairs": "cleanup.eliminate_quantize_pairs",
    "eliminate-sequences": "cleanup.eliminate_sequences",
    "eliminate-transposes": "layout.eliminate_transposes",
    "eliminate-unused-functions": "cleanup.eliminate_unused_functions",
    "eliminate-unused-inputs": "cleanup.eliminate_unused_inputs",
    "embed-postprocessing": "interface.embed_postprocessing",
    "embed-preprocessing": "interface.embed_preprocessing",
    "equalize-ranges": "quantize.equalize_ranges",
    "extract": "interface.extract",
    "fold-affine": "linear.fold_affine",
    "fold-batchnorm": "linear.fold_batchnorm",
    "fold-constants": "cleanup.fold_constants",
    "fold-pad": "linear.fold_pad",
    "fuse-conv-activation": "fusion.fuse_conv_activation",
    "fuse-conv-pool": "fusion.fuse_conv_pool",
    "fuse-matmul-bias": "fusion.fuse_matmul_bias",
    "fuse-squeeze-excite": "fusion.fuse_squeeze_excite",
    "inline-constant-branches": "cleanup.inline_constant_branches",
    "inline-functions": "cleanup.inline_functions",
    "inline-fused-operators": "fusion.inline_fused_operators",
    "lift-affine": "linear.lift_affine",
    "lower-batchnorm": "linear.lower_batchnorm",
    "lower-conv-transpose": "linear.lower_conv_transpose",
    "merge-parallel-convolutions": "linear.merge_parallel_convolutions",
    "merge-sibling-convolutions": "linear.merge_sibling_convolutions",
    "merge-slices": "cleanup.merge_slices",
    "mix-precision": "precision.mix_precision",
    "pool-before-pointwise": "linear.pool_before_pointwise",
    "prune": "prune.prune",
    "push-affine": "linear.push_affine",
    "quantize": "quantize.quantize",
    "quantize-dynamically": "quantize.quantize_dynamically",
    "quantize-weights": "quantize.quantize_weights",
    "raise-bounds": "quantize.lowering.raise_bounds",
    "recognize-activations": "recognition.recognize_activations",
    "recognize-depth-to-space": "recognition.recognize_depth_to_space",
    "recognize-normalizations": "recognition.recognize_normalizations",
    "recognize-pooling": "recognition.recognize_pooling",
    "reconstruct-blocks": "recover.reconstruct_blocks",
    "recover": "recover.recover",
    "remove-constant-channels": "linear.remove_constant_channels",
    "rename": "interface.rename",
    "replace-head": "transfer.replace_head",
    "round-adaptively": "quantize.round_adaptively",
    "set-shapes": "interface.set_shapes",
    "shrink-channels": "prune.shrink_channels",
    "simplify-reshapes": "layout.simplify_reshapes",
    "split-batchnorm": "linear.split_batchnorm",
    "substitute-depthwise": "decompose.substitute_depthwise",
    "transfer-weights": "transfer.transfer_weights",
    "unroll-loops": "cleanup.unroll_loops",
}


def load_builtin(name: str) -> type[Pass]:
    """Return the class of the pass called `name`, which is in the table."""
    with paused_gc():
        module = importlib.import_module(f"{_PACKAGE}.{BUILTIN[name]}")
    found: type[Pass] = getattr(module, class_name(name))
    return found


def is_builtin(kind: type[Pass]) -> bool:
    """Say whether `kind` is the class of a pass that comes with planish."""
    name = getattr(kind, "name", "")
    place = f"{_PACKAGE}.{BUILTIN.get(name)}", class_name(name)
    return place == (kind.__module__, kind.__qualname__)


def class_name(name: str) -> str:
    """Return what the class of the pass called `name` is called: FoldPad of `fold-pad`."""
    return "".join(word.capitalize() for word in name.split("-"))
