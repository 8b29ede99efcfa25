"""PyTorch models against torch itself, compiled by stock IREE for the host."""

from __future__ import annotations

import dataclasses
import functools
import io

import numpy as np
import pytest
from iree.compiler import ir

torch = pytest.importorskip("torch")
pytest.importorskip("torch_mlir")
pytest.importorskip("torchao")

import iree.compiler  # noqa: E402
import iree.runtime  # noqa: E402
from iree.compiler.passmanager import PassManager  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch_mlir import fx  # noqa: E402

from dtmm_mlir.dialect.constants import constant_array, walk  # noqa: E402
from dtmm_mlir.dialect.context import create_context  # noqa: E402
from dtmm_mlir.errors import DtmmError  # noqa: E402
from dtmm_mlir.frontends.torch import import_torch  # noqa: E402
from dtmm_mlir.passes.base import PassError  # noqa: E402
from dtmm_mlir.passes.torch_to_tosa import TorchToTosa  # noqa: E402
from dtmm_mlir.quantization import quantize_int8  # noqa: E402

RUNS = 4


class Function(nn.Module):
    """A function of the input and of what a convolution makes of it."""

    def __init__(self, function, channels: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.function = function

    def forward(self, x):
        return self.function(x, self.conv(x))


def dead_filter() -> nn.Module:
    """A convolution with a filter of zeros that has a bias."""
    model = nn.Conv2d(3, 4, 3)
    model.weight.data[2] = 0
    model.bias.data[2] = 1.3
    return model


class Separable(nn.Module):
    """MobileNet's block with a residual addition and a linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.ReLU6())
        self.pointwise = nn.Conv2d(8, 8, 1)
        self.down = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.head = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x):
        x = self.stem(x)
        x = functional.relu(x + self.pointwise(self.depthwise(x)))
        x = functional.relu(self.down(x), inplace=True)
        return self.head(torch.flatten(x, 1))


class Squeezed(nn.Module):
    """A fire module, max pooling with padding, dropout and a global mean."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(3, 4, 1)
        self.left, self.right = nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 3, padding=1)
        self.dropout, self.head = nn.Dropout(), nn.Conv2d(12, 10, 1)

    def forward(self, x):
        x = functional.relu(self.squeeze(x))
        x = torch.cat([functional.relu(self.left(x)), functional.relu(self.right(x))], 1)
        x = functional.max_pool2d(x, 3, 2, 1)
        return self.head(self.dropout(x)).mean(dim=[2, 3])


def multilayer() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 20), nn.ReLU(), nn.Linear(20, 10))


LAYERS = {
    "conv": (lambda: nn.Conv2d(5, 7, 3), (1, 5, 9, 8)),
    "conv_relu": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), (1, 3, 8, 8)),
    "conv_relu6": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU6()), (1, 3, 8, 8)),
    "conv_hardtanh": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Hardtanh(-0.3, 0.4)), (1, 3, 8, 8)),
    "conv_batch_norm": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), (1, 3, 8, 8)),
    "conv_no_bias_stride": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), (1, 4, 8, 9)),
    "conv_stride_3_trims_input": (lambda: nn.Conv2d(4, 6, 2, stride=3), (1, 4, 10, 9)),
    "conv_same_even_kernel": (lambda: nn.Conv2d(4, 6, (2, 4), padding="same"), (1, 4, 8, 8)),
    "conv_valid": (lambda: nn.Conv2d(4, 6, (1, 3), padding="valid"), (1, 4, 8, 8)),
    "conv_dilated": (lambda: nn.Conv2d(4, 6, 3, dilation=2, padding=(2, 1)), (1, 4, 9, 9)),
    "conv_1x1": (lambda: nn.Conv2d(16, 6, 1), (1, 16, 4, 4)),
    "conv_dead_filter": (dead_filter, (1, 3, 6, 6)),
    "conv_batch_2": (lambda: nn.Conv2d(3, 4, 3), (2, 3, 6, 6)),
    "depthwise": (lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6), (1, 6, 8, 8)),
    "depthwise_multiplier": (lambda: nn.Conv2d(6, 12, 3, stride=2, groups=6), (1, 6, 9, 9)),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(8, 12, 3, groups=4), nn.ReLU()), (1, 8, 6, 6)),
    "linear": (lambda: nn.Linear(40, 10), (1, 40)),
    "linear_relu": (lambda: nn.Sequential(nn.Linear(40, 10, bias=False), nn.ReLU()), (3, 40)),
    "max_pool": (lambda: nn.MaxPool2d(3, 2, 1), (1, 5, 9, 8)),
    "avg_pool": (lambda: nn.AvgPool2d(2), (1, 5, 9, 8)),
    "avg_pool_padded": (lambda: nn.AvgPool2d(3, 2, 1), (1, 5, 8, 8)),
    "avg_pool_exclusive": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), (1, 5, 8, 8)),
    "adaptive_pool": (lambda: nn.AdaptiveAvgPool2d((2, 4)), (1, 5, 8, 8)),
    "global_pool": (lambda: nn.AdaptiveAvgPool2d(1), (1, 5, 8, 8)),
    "mean": (lambda: Function(lambda x, y: x.mean(dim=[2, 3])), (1, 6, 8, 8)),
    "flatten": (lambda: nn.Flatten(), (1, 4, 3, 5)),
    "pad": (lambda: nn.ZeroPad2d((1, 0, 2, 1)), (1, 4, 5, 5)),
    "hardswish": (lambda: nn.Hardswish(), (1, 4, 5, 5)),
    "leaky_relu": (lambda: nn.LeakyReLU(0.1), (1, 4, 5, 5)),
    "scalars": (lambda: Function(lambda x, y: (x * 2 + 1) / 3), (1, 6, 5, 5)),
    "sigmoid": (lambda: nn.Sigmoid(), (1, 20)),
}

PAIRS = {
    "add": (lambda x, y: x + y, [(1, 4, 5, 5)] * 2),
    "add_relu": (lambda x, y: functional.relu(x + y), [(1, 4, 5, 5)] * 2),
    "sub": (lambda x, y: x - y, [(1, 4, 5, 5)] * 2),
    "mul_broadcast": (lambda x, y: x * y, [(1, 4, 5, 5), (1, 4, 1, 1)]),
    "cat": (lambda x, y: torch.cat([x, y], 1), [(1, 4, 5, 5), (1, 3, 5, 5)]),
    "cat_flattened": (lambda x, y: torch.cat([x.flatten(1), y.flatten(1)], 1), [(1, 4, 5, 5), (1, 3, 2, 2)]),
    "add_flattened": (lambda x, y: x.flatten(1) + y, [(1, 4, 3, 3), (1, 36)]),
}

NETWORKS = {
    "separable": (Separable, (1, 3, 16, 16)),
    "squeezed": (Squeezed, (1, 3, 12, 12)),
    "multilayer": (multilayer, (1, 3, 4, 4)),
    "channel_shuffle": (
        lambda: Function(lambda x, y: y.view(1, 2, 3, 8, 8).transpose(1, 2).reshape(1, 6, 8, 8) + x),
        (1, 6, 8, 8),
    ),
    "squeeze_and_excite": (
        lambda: Function(lambda x, y: x * torch.sigmoid(functional.adaptive_avg_pool2d(y, 1))),
        (1, 6, 8, 8),
    ),
}

FLOATS = {
    "silu": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU()), (1, 3, 6, 6)),
    "batch_norm_first": (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)), (1, 3, 6, 6)),
    "softmax_channels": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax(1)), (1, 3, 6, 6)),
    "log_softmax": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 10), nn.LogSoftmax(1)), (1, 3, 4, 4)),
    "scalar": (lambda: Function(lambda x, y: (y * 2 + 1 - x) / 3), (1, 6, 5, 5)),
}

FLOAT_LAYERS = [
    "conv_stride_3_trims_input",
    "conv_same_even_kernel",
    "conv_dilated",
    "depthwise_multiplier",
    "grouped",
    "avg_pool_padded",
    "avg_pool_exclusive",
    "hardswish",
]
FLOATS |= NETWORKS | {name: LAYERS[name] for name in FLOAT_LAYERS}


def randomized(model: nn.Module) -> nn.Module:
    """``model`` with batch normalizations that do something, and a tenth of the filterlets pruned."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        if isinstance(module, nn.Conv2d):
            module.weight.data[0, :, 0, 0] = 0
    return model.eval()


def to_tosa(model, example_inputs=None) -> ir.Module:
    module = import_torch(model, create_context(), example_inputs)
    TorchToTosa()(module)
    assert module.operation.verify()
    assert "torch." not in module.operation.get_asm(large_elements_limit=8)
    return module


def compiled(module: ir.Module):
    """The function @main of ``module`` as a callable on numpy arrays."""
    return compiled_together({"main": module})["main"]


def compiled_together(modules: dict[str, ir.Module]) -> dict:
    """The functions @main of ``modules``, which share a context, compiled in one go: starting a compiler costs 1 s."""
    context = next(iter(modules.values())).context
    with context, ir.Location.unknown():
        together = ir.Module.create()
        for name, module in modules.items():
            function = next(walk(module, "func.func")).clone(ir.InsertionPoint(together.body))
            function.attributes["sym_name"] = ir.StringAttr.get(name)
    stream = io.BytesIO()
    together.operation.write_bytecode(stream)
    binary = iree.compiler.compile_str(
        stream.getvalue(),
        input_type="tosa",
        target_backends=["llvm-cpu"],
        extra_args=["--iree-llvmcpu-target-cpu=host", "--iree-opt-level=O0"],
    )
    system = iree.runtime.SystemContext(config=iree.runtime.Config("local-sync"))
    system.add_vm_module(iree.runtime.VmModule.copy_buffer(system.instance, binary))

    def callable_of(name: str):
        return lambda *arrays: system.modules.module[name](*map(np.ascontiguousarray, arrays)).to_host()

    return {name: callable_of(name) for name in modules}


def boundary(module: ir.Module, key: str) -> list[tuple[float, int]]:
    """Scale and zero point of each argument (``arg_attrs``) or result (``res_attrs``) of @main."""
    (function,) = walk(module, "func.func")
    entries = [attributes["filterlet.quantization"] for attributes in function.attributes[key]]
    return [(entry["scale"].value, entry["zero_point"].value) for entry in entries]


@dataclasses.dataclass
class Quantized:
    """A model in int8, by torch and by this compiler."""

    program: torch.export.ExportedProgram
    module: ir.Module
    samples: list[tuple[torch.Tensor, ...]]


def quantized(model: nn.Module, shapes: list[tuple[int, ...]], context: ir.Context) -> Quantized:
    torch.manual_seed(0)
    samples = [tuple(torch.randn(shape) for shape in shapes) for _ in range(RUNS)]
    program = quantize_int8(randomized(model), samples, samples[0])
    module = import_torch(program, context)
    TorchToTosa()(module)
    return Quantized(program, module, samples)


def steps_between(model: Quantized, run) -> int:
    """The largest difference between ``run`` and torch's converted model, in steps of the result."""
    reference = model.program.module()
    inputs = boundary(model.module, "arg_attrs")
    ((scale, zero_point),) = boundary(model.module, "res_attrs")
    worst = 0
    for sample in model.samples:
        stored = [
            np.clip(np.rint(tensor.numpy() / step) + zero, -128, 127).astype(np.int8)
            for tensor, (step, zero) in zip(sample, inputs, strict=True)
        ]
        real = [
            torch.tensor((array.astype(np.float32) - zero) * np.float32(step))
            for array, (step, zero) in zip(stored, inputs, strict=True)
        ]
        expected = np.rint(reference(*real).detach().numpy() / scale) + zero_point
        result = run(*stored)
        assert result.dtype == np.int8
        assert result.shape == expected.shape
        worst = max(worst, int(np.abs(result.astype(int) - expected).max()))
    return worst


def pair_of(function) -> nn.Module:
    class Pair(nn.Module):
        def forward(self, x, y):
            return function(x, y)

    return Pair()


@pytest.fixture(scope="module")
def int8_models() -> dict:
    """Every int8 case, quantized and compiled: name -> (model, function)."""
    context = create_context()
    cases = {name: (build, [shape]) for name, (build, shape) in {**LAYERS, **NETWORKS}.items()}
    cases |= {name: (functools.partial(pair_of, function), shapes) for name, (function, shapes) in PAIRS.items()}
    models = {}
    for name, (build, shapes) in cases.items():
        torch.manual_seed(0)
        models[name] = quantized(build(), shapes, context)
    functions = compiled_together({name: model.module for name, model in models.items()})
    return {name: (models[name], functions[name]) for name in models}


@pytest.mark.parametrize("name", [*LAYERS, *PAIRS])
def test_int8_layer(name, int8_models):
    assert steps_between(*int8_models[name]) <= 1


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_network(name, int8_models):
    assert steps_between(*int8_models[name]) <= 2


@pytest.fixture(scope="module")
def float_models() -> dict:
    """Every float case, compiled: name -> (model, input, function)."""
    context = create_context()
    models, modules = {}, {}
    for name, (build, shape) in FLOATS.items():
        torch.manual_seed(0)
        models[name] = (randomized(build()), torch.randn(shape))
        modules[name] = import_torch(models[name][0], context, models[name][1:])
        TorchToTosa()(modules[name])
    functions = compiled_together(modules)
    return {name: (*models[name], functions[name]) for name in models}


@pytest.mark.parametrize("name", FLOATS)
def test_float_model(name, float_models):
    model, x, run = float_models[name]
    expected = model(x).detach().numpy()
    result = run(x.numpy())
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["separable", "squeezed"])
def test_simplified_by_torch(name):
    """After torch's own decomposition: the same integers as without."""
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    program = quantize_int8(randomized(build()), [torch.randn(shape)])
    plain, simplified = import_torch(program, create_context()), import_torch(program, create_context())
    with simplified.context:
        decompose = "builtin.module(func.func(torch-decompose-complex-ops),canonicalize,cse)"
        PassManager.parse(decompose).run(simplified.operation)
    counts = []
    for module in (plain, simplified):
        TorchToTosa()(module)
        counts.append(len(list(walk(module, "tosa.conv2d", "tosa.depthwise_conv2d", "tosa.rescale"))))
    assert counts[0] == counts[1]


def test_batch_norm_taken_apart_is_folded_into_its_convolution():
    torch.manual_seed(0)
    model = randomized(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    x = torch.randn(1, 3, 6, 6)
    apart = ir.Module.parse(str(fx.export_and_import(model, x, output_type="torch")), create_context())
    assert list(walk(apart, "torch.aten.sqrt"))
    weights = []
    for module in (import_torch(model, create_context(), [x]), apart):
        TorchToTosa()(module)
        assert not list(walk(module, "tosa.mul", "tosa.add", "tosa.sub"))
        weights.append([constant_array(conv.operands[1]) for conv in walk(module, "tosa.conv2d")])
    for whole, folded in zip(*weights, strict=True):
        np.testing.assert_allclose(whole, folded, rtol=1e-6)  # torch takes the square root in f32


def test_pruned_filterlets_stay_zero():
    torch.manual_seed(0)
    model = nn.Conv2d(4, 6, 3)
    model.weight.data[:, :, 1, 2] = 0
    model.weight.data[3] = 0
    model.bias.data[3] = 7.0
    x = torch.randn(1, 4, 6, 6)
    module = to_tosa(quantize_int8(model, [x]))
    (conv,) = walk(module, "tosa.conv2d")
    weight = constant_array(conv.operands[1])  # OHWI
    assert not weight[:, 1, 2].any()
    assert not weight[3].any()
    assert weight[0, 0, 0].any()


def test_location_is_the_model_s_own_line():
    module = import_torch(Separable().eval(), create_context(), (torch.randn(1, 3, 16, 16),))
    text = module.operation.get_asm(enable_debug_info=True, large_elements_limit=8)
    assert 'loc("down"' in text
    assert "test_torch.py" in text
    assert "site-packages" not in text


def test_softmax_stays_in_float_with_a_warning(caplog):
    torch.manual_seed(0)
    x = torch.randn(4, 3, 4, 4)
    program = quantize_int8(nn.Sequential(multilayer(), nn.Softmax(1)), [x])
    module = to_tosa(program)
    assert "aten.softmax.int" in caplog.text
    ((scale, zero_point),) = boundary(module, "arg_attrs")
    stored = np.clip(np.rint(x[:1].numpy() / scale) + zero_point, -128, 127).astype(np.int8)
    expected = program.module()(torch.tensor((stored.astype(np.float32) - zero_point) * np.float32(scale)))
    assert np.abs(compiled(module)(stored) - expected.numpy()).max() < 0.02


def test_pt2_file(tmp_path):
    x = torch.randn(4, 3, 8, 8)
    path = tmp_path / "model.pt2"
    torch.export.save(quantize_int8(nn.Conv2d(3, 4, 3), [x]), path)
    assert len(list(walk(to_tosa(path), "tosa.conv2d"))) == 1


def test_rejects_truncated_pt2(tmp_path):
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(nn.ReLU(), (torch.randn(1, 3),)), path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DtmmError, match=r"model\.pt2: .*truncated") as caught:
        import_torch(path, create_context())
    assert "\n" not in str(caught.value)


def test_rejects_missing_file(tmp_path):
    with pytest.raises(DtmmError, match="no such file"):
        import_torch(tmp_path / "none.pt2", create_context())


def test_rejects_dynamic_batch():
    batch = torch.export.Dim("batch", min=1, max=8)
    program = torch.export.export(nn.Conv2d(3, 4, 3), (torch.randn(2, 3, 8, 8),), dynamic_shapes=[{0: batch}])
    with pytest.raises(DtmmError, match=r"input: .*dynamic shape"):
        import_torch(program, create_context())


def test_rejects_nan_weight():
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    model[0].weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(DtmmError, match=r"0\.weight: .*NaN"):
        import_torch(model, create_context(), (torch.randn(1, 3, 8, 8),))


def test_rejects_missing_example_inputs():
    with pytest.raises(DtmmError, match="example_inputs"):
        import_torch(nn.ReLU(), create_context())


def test_rejects_empty_calibration():
    with pytest.raises(DtmmError, match="no calibration inputs"):
        quantize_int8(nn.ReLU(), [])


def test_rejects_batch_norm_that_cannot_be_folded():
    with pytest.raises(DtmmError, match="0: a batch normalization follows no convolution"):
        quantize_int8(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)), [torch.randn(1, 3, 8, 8)])


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 4, 2)), (1, 3, 8, 8), "'torch.aten.conv"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 3)), (1, 3, 8, 8), "float32 island"),
        (nn.AdaptiveAvgPool2d(3), (1, 3, 8, 8), "windows of several sizes"),
        (nn.AvgPool2d(3, 2, ceil_mode=True), (1, 3, 8, 8), "ceil_mode"),
        (nn.Conv1d(3, 4, 3), (1, 3, 8), "has no TOSA form"),
    ],
)
def test_rejects_what_has_no_integer_form(model, shape, message):
    program = quantize_int8(model, [torch.randn(shape)])
    with pytest.raises(PassError, match=message):
        to_tosa(program)
