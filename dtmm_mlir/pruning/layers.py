"""The convolutions of a network and their shapes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from dtmm_mlir.dialect.ops import Geometry
from dtmm_mlir.errors import DtmmError


@dataclass(frozen=True)
class Layer:
    """A convolution whose filterlets can be pruned.

    Attributes:
        name: of the module, as in ``named_modules``.
        geometry: its shape for one input.
    """

    name: str
    geometry: Geometry


def find_layers(model: nn.Module, example: torch.Tensor) -> list[Layer]:
    """The ``nn.Conv2d`` modules that ``model`` runs, in order; depthwise ones have no filterlets and are left out.

    Args:
        example: an input of one image, [1, C, H, W].

    Raises:
        DtmmError: the model cannot be run on ``example``.
    """
    names = {module: name for name, module in model.named_modules()}
    found: dict[str, Layer] = {}

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(module, nn.Conv2d)
        geometry = _geometry(module, tuple(inputs[0].shape))
        if not geometry.is_depthwise:
            found.setdefault(names[module], Layer(names[module], geometry))

    hooks = [m.register_forward_pre_hook(note) for m in names if isinstance(m, nn.Conv2d)]
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(example)
    except Exception as error:  # whatever a user's model may raise
        raise DtmmError(f"the model cannot be run on its example input: {error}") from error
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return list(found.values())


def _geometry(conv: nn.Conv2d, shape: tuple[int, ...]) -> Geometry:
    kh, kw = conv.kernel_size
    dilations = (conv.dilation[0], conv.dilation[1])
    if conv.padding == "same":
        total = [(k - 1) * d for k, d in zip((kh, kw), dilations, strict=True)]
        pads = (total[0] // 2, -(-total[0] // 2), total[1] // 2, -(-total[1] // 2))
    else:
        y, x = (0, 0) if isinstance(conv.padding, str) else conv.padding
        pads = (y, y, x, x)
    strides = (conv.stride[0], conv.stride[1])
    return Geometry(
        1, shape[2], shape[3], conv.in_channels, conv.out_channels, kh, kw, strides, dilations, pads, conv.groups
    )
