"""The whole road on scikit-learn's digits: train, prune filterlets, fine-tune, quantize, compile, run.

python examples/digits.py
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import dtmm_mlir
from dtmm_mlir.quantization import quantize_int8

KEPT = 0.4
"""Share of each layer's filterlets that survive."""


class Network(nn.Module):
    """A small residual network for 8x8 images; [1, 1, 8, 8] in, [1, 10] out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.block = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16),
        )  # fmt: skip
        self.relu = nn.ReLU()
        self.widen = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.classify = nn.Linear(32 * 2 * 2, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.relu(self.block(x) + x)
        return self.classify(torch.flatten(self.pool(self.widen(x)), 1))


@dataclass(frozen=True)
class Data:
    """Images [N, 1, 8, 8] float32 within 0 to 1, and labels [N]."""

    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor


def load_data() -> Data:
    images, labels = load_digits(return_X_y=True)
    x = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(x, labels, test_size=0.25, random_state=0, stratify=labels)
    return Data(*map(torch.from_numpy, (train_x, train_y, test_x, test_y)))


def train(
    model: nn.Module, data: Data, epochs: int, rate: float, masks: dict[nn.Conv2d, torch.Tensor] | None = None
) -> None:
    """Trains in place; weights outside ``masks`` stay zero."""
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * (len(data.train_x) // 64))
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(data.train_x))[: len(data.train_x) // 64 * 64].split(64):
            loss = nn.functional.cross_entropy(model(data.train_x[batch]), data.train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            for conv, mask in (masks or {}).items():
                conv.weight.data *= mask
    model.eval()


def prune(model: nn.Module, kept: float) -> dict[nn.Conv2d, torch.Tensor]:
    """Zeroes the filterlets of smallest norm in every convolution but the first.

    Returns:
        For each pruned convolution its mask [F, 1, KH, KW], one where a filterlet is kept.
    """
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)][1:]
    masks = {}
    for conv in convs:
        norms = conv.weight.detach().norm(dim=1, keepdim=True)
        threshold = norms.flatten().kthvalue(norms.numel() - round(kept * norms.numel())).values
        masks[conv] = (norms > threshold).float()
        conv.weight.data *= masks[conv]
    return masks


def pruned_network(data: Data, seed: int = 0) -> tuple[Network, dict[nn.Conv2d, torch.Tensor]]:
    """A trained network of which ``KEPT`` of the filterlets are left, with its masks."""
    torch.manual_seed(seed)
    model = Network()
    train(model, data, epochs=20, rate=1e-2)
    masks = prune(model, KEPT)
    train(model, data, epochs=15, rate=5e-3, masks=masks)
    return model, masks


def accuracy(outputs: np.ndarray | torch.Tensor, labels: torch.Tensor) -> float:
    """Percent of [N, 10] or [N, 1, 10] outputs whose largest element is the label."""
    return 100 * float((np.asarray(outputs).reshape(len(labels), -1).argmax(1) == labels.numpy()).mean())


def converted_outputs(program: torch.export.ExportedProgram, images: torch.Tensor) -> np.ndarray:
    """What torch's own quantized model makes of [N, 1, 8, 8] images, one at a time: [N, 10] float32."""
    module = program.module()
    with torch.no_grad():
        return torch.cat([module(image) for image in images.split(1)]).numpy()


def main() -> None:
    data = load_data()
    model, masks = pruned_network(data)
    with torch.no_grad():
        floats = model(data.test_x)
    program = quantize_int8(model, data.train_x[:256].split(1))
    converted = converted_outputs(program, data.test_x)
    images = data.test_x[:, None].numpy()  # a stack of inputs, each [1, 1, 8, 8]

    pruned = 1 - sum(mask.sum() for mask in masks.values()) / sum(mask.numel() for mask in masks.values())
    table = Table(title=f"Digits, {100 * pruned:.0f} % of the pruned layers' filterlets removed", title_justify="left")
    for column in ("", "accuracy", "filterlets", "flash", "arena", "instructions"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("PyTorch float32", f"{accuracy(floats, data.test_y):.1f} %")
    table.add_row("PyTorch int8", f"{accuracy(converted, data.test_y):.1f} %")
    for target in ("host", "cortex-m55"):
        artifact = dtmm_mlir.compile(program, target=target)
        run = artifact.execute(images)
        layers = artifact.manifest["layers"]
        kept, total = (sum(layer[f"{key}_filterlets"] for layer in layers) for key in ("kept", "total"))
        sizes = [artifact.manifest["flash_bytes"], artifact.manifest["arena_bytes"], run.instructions]
        figures = [f"{number:,}" if number is not None else "" for number in sizes]
        percent = f"{accuracy(run.outputs[0], data.test_y):.1f} %"
        table.add_row(f"int8 on {target}", percent, f"{kept} / {total}", *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
