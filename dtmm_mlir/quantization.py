"""Quantizing PyTorch models to int8, in the form that this compiler turns into integers.

Needs the ``torch`` extra: ``pip install 'dtmm-mlir[torch]'``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dtmm_mlir.errors import DtmmError

try:
    import torch
    from torchao.quantization.pt2e import HistogramObserver, PerChannelMinMaxObserver
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import (
        QuantizationAnnotation,
        QuantizationSpec,
        Quantizer,
        SharedQuantizationSpec,
    )
except ImportError as error:
    raise DtmmError(f"quantizing needs PyTorch and torchao ({error}); pip install 'dtmm-mlir[torch]'.") from error

_aten = torch.ops.aten

_CONVOLUTIONS = (_aten.conv2d.default, _aten.conv2d.padding)
_BATCH_NORMS = (_aten.batch_norm.default, _aten._native_batch_norm_legit_no_training.default)
_ACTIVATIONS = (
    _aten.relu.default, _aten.relu_.default, _aten.relu6.default, _aten.relu6_.default, _aten.hardtanh.default,
    _aten.hardtanh_.default, _aten.clamp.default, _aten.clamp_.default, _aten.clamp_min.default,
)  # fmt: skip
_OWN_RANGE = (
    _aten.add.Tensor, _aten.add_.Tensor, _aten.sub.Tensor, _aten.div.Tensor, _aten.mul.Tensor,
    _aten.mul_.Tensor, _aten.mean.dim,
    _aten.adaptive_avg_pool2d.default, _aten.sigmoid.default, _aten.tanh.default, _aten.silu.default,
    _aten.silu_.default, _aten.hardswish.default, _aten.hardswish_.default, _aten.hardsigmoid.default,
    _aten.gelu.default, _aten.leaky_relu.default, _aten.leaky_relu_.default,
)  # fmt: skip
_SAME_RANGE = (
    _aten.max_pool2d.default, _aten.avg_pool2d.default, _aten.flatten.using_ints, _aten.view.default,
    _aten.reshape.default, _aten.squeeze.dim, _aten.squeeze.dims, _aten.squeeze.default, _aten.unsqueeze.default,
    _aten.permute.default, _aten.transpose.int, _aten.dropout.default, _aten.dropout_.default,
    _aten.feature_dropout.default, _aten.constant_pad_nd.default, _aten.pad.default, _aten.clone.default,
    _aten.contiguous.default, _aten.slice.Tensor,
)  # fmt: skip
_SMALLEST_SCALE = 2.0**-16


class Int8Quantizer(Quantizer):
    """Annotates a network for int8: weights symmetric per output channel, activations affine per tensor.

    Weights lie in -127..127 with zero point 0, so that zeros, and with them pruned filterlets, stay exact zeros.
    Annotated are two-dimensional convolutions and linear layers with a ReLU, ReLU6, hardtanh or clamp behind them,
    additions, products, pools, means, concatenations, functions of one element, and ops that only move elements;
    these share the range of what they move. Everything else stays float32.
    """

    def __init__(self) -> None:
        self._activation = QuantizationSpec(
            dtype=torch.int8,
            quant_min=-128,
            quant_max=127,
            qscheme=torch.per_tensor_affine,
            observer_or_fake_quant_ctr=HistogramObserver.with_args(eps=_SMALLEST_SCALE),
        )
        self._weight = QuantizationSpec(
            dtype=torch.int8,
            quant_min=-127,
            quant_max=127,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
            observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=_SMALLEST_SCALE),
        )

    def annotate(self, model: torch.fx.GraphModule) -> torch.fx.GraphModule:
        """Annotates ``model`` in place and returns it."""
        for node in model.graph.nodes:
            if node.op != "call_function" or not _is_float(node):
                continue
            if node.target in (*_CONVOLUTIONS, _aten.linear.default):
                self._annotate_weighted(node)
            elif node.target in _OWN_RANGE or node.target in _ACTIVATIONS:
                self._annotate_own_range(node)
            elif node.target in _SAME_RANGE:
                self._annotate_same_range(node, [node.args[0]])
            elif node.target is _aten.cat.default:
                self._annotate_same_range(node, list(node.args[0]))
        return model

    def validate(self, model: torch.fx.GraphModule) -> None:
        """Accepts every model; ops without an integer form are refused when the model is compiled."""

    def _annotate_weighted(self, node: torch.fx.Node) -> None:
        inputs: dict[Any, Any] = {node.args[0]: self._activation, node.args[1]: self._weight}
        self._set(node, inputs, self._output(node))

    def _annotate_own_range(self, node: torch.fx.Node) -> None:
        tensors = [argument for argument in node.args if isinstance(argument, torch.fx.Node)]
        if not tensors or not all(map(_is_float, tensors)):
            return
        if "quantization_annotation" in node.meta:  # an activation whose producer left its output to it
            return
        fused = node.target in _ACTIVATIONS and _leaves_output(tensors[0])
        inputs = {} if fused else dict.fromkeys(tensors, self._activation)
        self._set(node, inputs, self._activation if node.target in _ACTIVATIONS else self._output(node))

    def _annotate_same_range(self, node: torch.fx.Node, tensors: list[torch.fx.Node]) -> None:
        shared = SharedQuantizationSpec((tensors[0], node))
        inputs: dict[Any, Any] = dict.fromkeys(tensors, shared)
        inputs[tensors[0]] = self._activation
        self._set(node, inputs, shared)

    def _output(self, node: torch.fx.Node) -> QuantizationSpec | None:
        """``None`` where the only user is an activation, whose output is observed instead."""
        users = list(node.users)
        return None if len(users) == 1 and users[0].target in _ACTIVATIONS else self._activation

    @staticmethod
    def _set(node: torch.fx.Node, inputs: dict[Any, Any], output: Any) -> None:
        node.meta["quantization_annotation"] = QuantizationAnnotation(
            input_qspec_map=inputs, output_qspec=output, _annotated=True
        )


def quantize_int8(
    model: torch.nn.Module, calibration_inputs: Iterable[Any], example_inputs: tuple[torch.Tensor, ...] | None = None
) -> torch.export.ExportedProgram:
    """Quantizes a trained model to int8 after training.

    Args:
        model: a float32 model; it is put into evaluation mode. Batch normalization is folded into convolutions.
        calibration_inputs: representative inputs, NCHW: tensors or arrays, or tuples of them for several arguments.
            Larger batches than that of ``example_inputs`` are split.
        example_inputs: fixes the shapes; by default the first sample of the first calibration input.

    Returns:
        The exported program, for ``dtmm_mlir.frontends.torch.import_torch`` or ``torch.export.save``.

    Raises:
        DtmmError: there are no calibration inputs, their shapes do not fit, the model cannot be exported, or a batch
            normalization follows no convolution.
    """
    model.eval()
    samples = [_as_tuple(item) for item in calibration_inputs]
    if not samples:
        raise DtmmError("there are no calibration inputs; pass some representative inputs of the model.")
    examples = example_inputs or tuple(tensor[:1] for tensor in samples[0])
    try:
        exported = torch.export.export(model, examples).module()
    except Exception as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise DtmmError(f"torch.export cannot export the model: {first[0]}") from error
    with torch.no_grad():
        prepared = prepare_pt2e(exported, Int8Quantizer())
        _reject_batch_norm(prepared)
        for sample in samples:
            for part in _split(sample, examples):
                prepared(*part)
        return torch.export.export(convert_pt2e(prepared), examples)


def _is_float(node: torch.fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype == torch.float32


def _leaves_output(node: torch.fx.Node) -> bool:
    annotation = node.meta.get("quantization_annotation")
    return annotation is not None and annotation.output_qspec is None


def _as_tuple(item: Any) -> tuple[torch.Tensor, ...]:
    items = item if isinstance(item, tuple | list) else (item,)
    return tuple(torch.as_tensor(value) for value in items)


def _split(sample: tuple[torch.Tensor, ...], examples: tuple[torch.Tensor, ...]) -> Iterator[tuple[torch.Tensor, ...]]:
    """``sample`` in pieces of the example's batch; an incomplete last piece is left out."""
    for given, example in zip(sample, examples, strict=False):
        if given.shape[1:] != example.shape[1:] or given.shape[:1] < example.shape[:1]:
            raise DtmmError(
                f"a calibration input of shape {tuple(given.shape)} does not fit the example's {tuple(example.shape)}."
            )
    if len(sample) != len(examples):
        raise DtmmError(f"a calibration input has {len(sample)} tensors, the model takes {len(examples)}.")
    batch = examples[0].shape[0]
    for start in range(0, sample[0].shape[0] - batch + 1, batch):
        yield tuple(tensor[start : start + batch] for tensor in sample)


def _reject_batch_norm(model: torch.fx.GraphModule) -> None:
    for node in model.graph.nodes:
        if node.target in _BATCH_NORMS:
            raise DtmmError(
                "a batch normalization follows no convolution and cannot be folded; put it behind a convolution "
                "or remove it.",
                where=_module_name(node),
            )


def _module_name(node: torch.fx.Node) -> str:
    names = list((node.meta.get("nn_module_stack") or {}).values())
    return str(names[-1][0]) if names else node.name
