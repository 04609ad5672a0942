"""The passes that come with planish."""

from __future__ import annotations

from ..cleanup.deduplicate_constants import DeduplicateConstants
from ..cleanup.eliminate_casts import EliminateCasts
from ..cleanup.eliminate_common_subexpressions import EliminateCommonSubexpressions
from ..cleanup.eliminate_dead_code import EliminateDeadCode
from ..cleanup.eliminate_identities import EliminateIdentities
from ..cleanup.eliminate_quantize_pairs import EliminateQuantizePairs
from ..cleanup.eliminate_sequences import EliminateSequences
from ..cleanup.eliminate_unused_functions import EliminateUnusedFunctions
from ..cleanup.eliminate_unused_inputs import EliminateUnusedInputs
from ..cleanup.fold_constants import FoldConstants
from ..cleanup.inline_constant_branches import InlineConstantBranches
from ..cleanup.unroll_loops import UnrollLoops
from ..decompose.decompose_spatial import DecomposeSpatial
from ..decompose.decompose_svd import DecomposeSvd
from ..decompose.decompose_tucker import DecomposeTucker
from ..decompose.substitute_depthwise import SubstituteDepthwise
from ..engine.contract import Pass
from ..fusion.fuse_conv_activation import FuseConvActivation
from ..fusion.fuse_conv_pool import FuseConvPool
from ..fusion.fuse_matmul_bias import FuseMatmulBias
from ..fusion.fuse_squeeze_excite import FuseSqueezeExcite
from ..fusion.inline_fused_operators import InlineFusedOperators
from ..layout.eliminate_transposes import EliminateTransposes
from ..layout.simplify_reshapes import SimplifyReshapes
from ..linear.compose_linear import ComposeLinear
from ..linear.fold_affine import FoldAffine
from ..linear.fold_batchnorm import FoldBatchnorm
from ..linear.fold_pad import FoldPad
from ..linear.lower_batchnorm import LowerBatchnorm
from ..linear.lower_conv_transpose import LowerConvTranspose
from ..linear.merge_parallel_convolutions import MergeParallelConvolutions
from ..linear.merge_sibling_convolutions import MergeSiblingConvolutions
from ..linear.pool_before_pointwise import PoolBeforePointwise
from ..linear.push_affine import PushAffine
from ..linear.remove_constant_channels import RemoveConstantChannels
from ..linear.split_batchnorm import SplitBatchnorm
from ..opset.convert_opset import ConvertOpset
from ..precision.convert_precision import ConvertPrecision
from ..prune.apply_masks import ApplyMasks
from ..prune.prune import Prune
from ..prune.shrink_channels import ShrinkChannels
from ..quantize.correct_bias import CorrectBias
from ..quantize.dequantize_nodes import DequantizeNodes
from ..quantize.equalize_ranges import EqualizeRanges
from ..quantize.lowering.align_channels import AlignChannels
from ..quantize.lowering.depth_to_space_channels_last import DepthToSpaceChannelsLast
from ..quantize.lowering.raise_bounds import RaiseBounds
from ..quantize.quantize import Quantize
from ..quantize.quantize_dynamically import QuantizeDynamically
from ..quantize.quantize_weights import QuantizeWeights
from ..quantize.round_adaptively import RoundAdaptively
from ..recognition.recognize_activations import RecognizeActivations
from ..recognition.recognize_depth_to_space import RecognizeDepthToSpace
from ..recognition.recognize_normalizations import RecognizeNormalizations
from ..recognition.recognize_pooling import RecognizePooling
from ..recover.recover import Recover
from ..shuffle.absorb_channel_shuffle import AbsorbChannelShuffle
from ..shuffle.align_depthwise import AlignDepthwise
from ..transfer.replace_head import ReplaceHead
from ..transfer.transfer_weights import TransferWeights

PASSES: tuple[type[Pass], ...] = (
    AbsorbChannelShuffle,
    AlignChannels,
    AlignDepthwise,
    ApplyMasks,
    ComposeLinear,
    ConvertOpset,
    ConvertPrecision,
    CorrectBias,
    DecomposeSpatial,
    DecomposeSvd,
    DecomposeTucker,
    DeduplicateConstants,
    DepthToSpaceChannelsLast,
    DequantizeNodes,
    EliminateCasts,
    EliminateCommonSubexpressions,
    EliminateDeadCode,
    EliminateIdentities,
    EliminateQuantizePairs,
    EliminateSequences,
    EliminateTransposes,
    EliminateUnusedFunctions,
    EliminateUnusedInputs,
    EqualizeRanges,
    FoldAffine,
    FoldBatchnorm,
    FoldConstants,
    FoldPad,
    FuseConvActivation,
    FuseConvPool,
    FuseMatmulBias,
    FuseSqueezeExcite,
    InlineConstantBranches,
    InlineFusedOperators,
    LowerBatchnorm,
    LowerConvTranspose,
    MergeParallelConvolutions,
    MergeSiblingConvolutions,
    PoolBeforePointwise,
    Prune,
    PushAffine,
    Quantize,
    QuantizeDynamically,
    QuantizeWeights,
    RaiseBounds,
    RecognizeActivations,
    RecognizeDepthToSpace,
    RecognizeNormalizations,
    RecognizePooling,
    Recover,
    RemoveConstantChannels,
    ReplaceHead,
    RoundAdaptively,
    ShrinkChannels,
    SimplifyReshapes,
    SplitBatchnorm,
    SubstituteDepthwise,
    TransferWeights,
    UnrollLoops,
)
