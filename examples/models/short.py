"""The networks with few blocks: one of each kind at least, in the order they have in the whole.

Exporting takes seconds a network, and most of a deep one is said twice by its depth.
"""

from collections.abc import Callable, Mapping

from torch import nn

from .densenet import DenseNet
from .detector import Detector
from .efficientnet import EfficientNet
from .googlenet import STAGE3, STAGE4, STAGE5, GoogLeNet
from .mobilenet_v2 import MobileNetV2
from .mobilenet_v3 import LAYERS, MobileNetV3Small
from .repvgg import RepVGG
from .resnet import BasicBlock, Bottleneck, ResNet
from .resnet_preact import PreActivationResNet
from .shufflenet_v1 import ShuffleNetV1
from .shufflenet_v2 import ShuffleNetV2
from .unet import UNet
from .vgg import VGG

SHORT: Mapping[str, Callable[..., nn.Module]] = {
    "resnet18": lambda width: ResNet(BasicBlock, (1, 2), width),
    "resnet50": lambda width: ResNet(Bottleneck, (2, 1), width),
    "resnet50_preact": lambda width: PreActivationResNet((2, 1), width),
    "mobilenet_v2": lambda width: MobileNetV2(width, stages=((1, 16, 1, 1), (6, 24, 2, 2))),
    "mobilenet_v3_small": lambda width: MobileNetV3Small(width, rows=LAYERS[:5]),
    "shufflenet_v1": lambda width: ShuffleNetV1(width, stages=((240, 2), (480, 1))),
    "shufflenet_v2": lambda width: ShuffleNetV2(width, stages=((116, 2), (232, 1))),
    "googlenet": lambda width: GoogLeNet(width, stages=(STAGE3[:1], STAGE4[:1], STAGE5[:1])),
    "densenet121": lambda width: DenseNet((2, 1), width),
    "efficientnet_b0": lambda width: EfficientNet(
        width, stages=((1, 3, 1, 16, 1), (6, 5, 2, 24, 2))
    ),
    "vgg16": lambda width, size: VGG(
        width, size, stages=((64, 1), (128, 1), (256, 1), (512, 2), (512, 1))
    ),
    "repvgg_a0": lambda width: RepVGG(width, stages=((48, 1), (96, 2), (1280, 1))),
    "unet": lambda width: UNet(width, counts=(64, 128)),
    "detector": lambda width: Detector(width, depths=(1, 0, 0, 0)),
}
