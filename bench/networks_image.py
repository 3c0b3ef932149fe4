"""VGG19, ResNet50, DenseNet201 and EfficientNetB0 in PyTorch, with torchvision's layers."""
import torch
from torch import nn

CLASSES = 1000


def norm_after(channels_in, channels, kernel, stride=1, groups=1, act=nn.ReLU):
    """Conv, BatchNormalization and, unless act is None, an activation of its own."""
    layers = [nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups,
                        bias=False), nn.BatchNorm2d(channels)]
    return nn.Sequential(*layers, *([act()] if act else []))


def norm_before(channels_in, channels, kernel):
    """BatchNormalization, Relu, Conv."""
    return nn.Sequential(nn.BatchNorm2d(channels_in), nn.ReLU(),
                         nn.Conv2d(channels_in, channels, kernel, 1, kernel // 2, bias=False))


def head(channels):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)]


def vgg19():
    layers, before = [], 3
    for channels, depth in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(depth):
            layers += [nn.Conv2d(before, channels, 3, 1, 1), nn.ReLU()]
            before = channels
        layers += [nn.MaxPool2d(2, 2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(7), nn.Flatten(),
                         nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Dropout(),
                         nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(),
                         nn.Linear(4096, CLASSES))


class Bottleneck(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        self.branch = nn.Sequential(norm_after(before, width, 1),
                                    norm_after(width, width, 3, stride),
                                    norm_after(width, width * 4, 1, act=None))
        same = stride == 1 and before == width * 4
        self.skip = nn.Identity() if same else norm_after(before, width * 4, 1, stride, act=None)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.branch(x) + self.skip(x))


def resnet50():
    layers, before = [norm_after(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(depth):
            layers.append(Bottleneck(before, width, stride if i == 0 else 1))
            before = width * 4
    return nn.Sequential(*layers, *head(before))


class Dense(nn.Module):
    """Appends 32 channels to its input."""

    def __init__(self, before):
        super().__init__()
        self.layers = nn.Sequential(norm_before(before, 128, 1), norm_before(128, 32, 3))

    def forward(self, x):
        return torch.cat([x, self.layers(x)], 1)


def densenet201():
    layers, channels = [norm_after(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for depth in (6, 12, 48, 32):
        for _ in range(depth):
            layers.append(Dense(channels))
            channels += 32
        if depth != 32:
            layers += [norm_before(channels, channels // 2, 1), nn.AvgPool2d(2, 2)]
            channels //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), *head(channels))


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels, squeezed):
        super().__init__()
        self.layers = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, squeezed, 1),
                                    nn.SiLU(), nn.Conv2d(squeezed, channels, 1), nn.Sigmoid())

    def forward(self, x):
        return x * self.layers(x)


class MBConv(nn.Module):
    def __init__(self, before, channels, kernel, stride, expansion):
        super().__init__()
        wide = before * expansion
        expand = [norm_after(before, wide, 1, act=nn.SiLU)] if expansion > 1 else []
        self.layers = nn.Sequential(*expand,
                                    norm_after(wide, wide, kernel, stride, wide, nn.SiLU),
                                    Gate(wide, before // 4),
                                    norm_after(wide, channels, 1, act=None))
        self.residual = stride == 1 and before == channels

    def forward(self, x):
        y = self.layers(x)
        return x + y if self.residual else y


def efficientnetb0():
    layers, before = [norm_after(3, 32, 3, 2, act=nn.SiLU)], 32
    for expansion, kernel, stride, channels, depth in (
            (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
            (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)):
        for i in range(depth):
            layers.append(MBConv(before, channels, kernel, stride if i == 0 else 1, expansion))
            before = channels
    pool, flatten, linear = head(1280)
    return nn.Sequential(*layers, norm_after(before, 1280, 1, act=nn.SiLU),
                         pool, flatten, nn.Dropout(0.2), linear)
