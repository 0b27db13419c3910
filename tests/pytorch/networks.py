"""The three networks in PyTorch, with the state-dict names of the STL-10 experiments (and, for ResNeXt, of
torchvision). stlpipe's `model.safetensors` loads into these with `load_state_dict`, and theirs into stlpipe."""

import functools

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import Bottleneck, ResNet

# Blocks as (in, out, kernel, stride, padding), and the blocks behind which a 2 x 2 pool stands.
LENET = ([(3, 64, 7, 2, 3), (64, 128, 3, 1, 2), (128, 256, 3, 1, 2), (256, 512, 3, 1, 2)], {1, 3})
CUSTOM_NET = (
    [(3, 64, 5, 2, 3), (64, 128, 4, 1, 2), (128, 128, 4, 1, 2), (128, 128, 1, 1, 0),
     (128, 256, 3, 1, 2), (256, 256, 3, 1, 2), (256, 256, 1, 1, 0), (256, 512, 2, 1, 2)],
    {1, 7},
)  # fmt: skip


class Blocks(nn.Module):
    """Blocks of convolution, activation and batch norm; block 1 applies its activation twice, and the logits
    pass through one as well."""

    def __init__(self, blocks, pools, activation, classes=10):
        super().__init__()
        self.count, self.pools, self.activation = len(blocks), pools, activation
        for number, (i, o, kernel, stride, padding) in enumerate(blocks, 1):
            setattr(self, f"layer_{number}", nn.Conv2d(i, o, kernel, stride, padding))
            setattr(self, f"conv2_bn{number}", nn.BatchNorm2d(o))
        self.fc_layer_1 = nn.Linear(blocks[-1][1], classes)

    def forward(self, x):
        for number in range(1, self.count + 1):
            x = self.activation(getattr(self, f"layer_{number}")(x))
            x = self.activation(x) if number == 1 else x
            x = getattr(self, f"conv2_bn{number}")(x)
            x = functional.max_pool2d(x, 2) if number in self.pools else x
        return self.activation(self.fc_layer_1(x.mean((2, 3))))


def network(name, classes=10):
    """`lenet`, `custom_net`, `resnext`, or one of the first two with `_leaky` behind its name."""
    leaky = functools.partial(functional.leaky_relu, negative_slope=0.1)
    activation = leaky if name.endswith("_leaky") else functional.relu
    match name.removesuffix("_leaky"):
        case "lenet":
            return Blocks(*LENET, activation, classes)
        case "custom_net":
            return Blocks(*CUSTOM_NET, activation, classes)
        case "resnext":
            net = ResNet(Bottleneck, [3, 6, 3, 1], classes, groups=8, width_per_group=4)
            net.layer4, net.fc = nn.Identity(), nn.Linear(1024, classes)
            return net
    raise ValueError(f"no network is called {name}")
