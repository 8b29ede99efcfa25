"""Milliseconds of whole models on this machine, one thread, beside LiteRT, ONNX Runtime and stock IREE.

All engines take turns within one run, so that what else the machine does hits them alike.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import iree.runtime as rt
import numpy as np
import record
from pruning import LEAST_CHANNELS, prune
from rich.console import Console
from rich.table import Table

import dtmm_mlir
from dtmm_mlir import iree_compile
from dtmm_mlir.artifact import HOST_MODULE
from dtmm_mlir.compiler import ir_after
from dtmm_mlir.targets import HOST

OURS, STOCK, LITERT, ONNX_RUNTIME = "dtmm-mlir", "IREE", "LiteRT", "ONNX Runtime"
WITH_LITERT = importlib.util.find_spec("ai_edge_litert") is not None
WITH_ONNX_RUNTIME = WITH_LITERT and all(map(importlib.util.find_spec, ("onnx", "onnxruntime")))
WIDENED = "vgg11_widened"
NAMES = [*record.NAMES, WIDENED] if WITH_LITERT else record.NAMES
TURN_SECONDS = 0.05


@dataclass(frozen=True)
class Engine:
    """A model ready to run on one input.

    Attributes:
        invoke: one inference; its input is in place already.
        output: what the last one gave.
    """

    name: str
    invoke: Callable[[], object]
    output: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Timing:
    """One engine on one model.

    Attributes:
        milliseconds: of one inference, the median over the turns.
        fastest: of the turns, in milliseconds.
        ratio: of our fastest turn to this engine's.
        largest_difference: of an output from TFLite's reference kernels; for a model made or pruned here, from stock
            IREE.
    """

    model: str
    sha256: str
    pruned: float
    engine: str
    milliseconds: float
    fastest: float
    ratio: float
    largest_difference: int


def iree_engine(name: str, module: Path, entry: str, x: np.ndarray) -> Engine:
    """A ``.vmfb`` on the calling thread; calls go past numpy, whose conversions would count."""
    config = rt.Config("local-sync")
    vm_module = rt.VmModule.copy_buffer(config.vm_instance, module.read_bytes())
    loaded = rt.load_vm_module(vm_module, config)
    function = vm_module.lookup_function(entry)
    context = loaded._context.vm_context
    arguments = rt.VmVariantList(1)
    arguments.push_ref(rt.asdevicearray(config.device, x)._buffer_view)

    def invoke() -> None:
        context.invoke(function, arguments, rt.VmVariantList(1))

    return Engine(name, invoke, lambda: np.array(loaded[entry](x).to_host()))


def litert_engine(model: bytes, x: np.ndarray) -> Engine:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    output = interpreter.get_output_details()[0]["index"]
    return Engine(LITERT, interpreter.invoke, lambda: interpreter.get_tensor(output))


def onnx_runtime_engine(model: bytes, x: np.ndarray) -> Engine:
    import onnxruntime
    from onnx_model import onnx_model

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_model(model), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input(session.get_inputs()[0].name, (x.view(np.uint8) ^ 128))
    binding.bind_output(session.get_outputs()[0].name)

    def output() -> np.ndarray:
        return (binding.copy_outputs_to_cpu()[0] ^ 128).view(np.int8)

    return Engine(ONNX_RUNTIME, lambda: session.run_with_iobinding(binding), output)


def engines(model: bytes, x: np.ndarray, folder: Path) -> list[Engine]:
    """All engines; ``folder`` must last as long as they do."""
    source = folder / "model.tflite"
    source.write_bytes(model)
    ours = dtmm_mlir.compile(source, out=folder / "ours")
    entry = ours.manifest["entry"]
    (folder / "stock.mlir").write_text(ir_after(source, "import"))
    iree_compile.run(folder / "stock.mlir", folder / "stock.vmfb", HOST.iree_flags())
    found = [
        iree_engine(OURS, ours.dir / HOST_MODULE, entry, x),
        iree_engine(STOCK, folder / "stock.vmfb", entry, x),
    ]
    found += [litert_engine(model, x)] if WITH_LITERT else []
    return found + ([onnx_runtime_engine(model, x)] if WITH_ONNX_RUNTIME else [])


def take_turns(engines: list[Engine], turns: int) -> dict[str, list[float]]:
    """Seconds of an inference in each turn, by engine; a turn repeats it for ``TURN_SECONDS``."""
    counts = {engine.name: max(1, round(TURN_SECONDS / seconds_of(engine, 3))) for engine in engines}
    seconds: dict[str, list[float]] = {engine.name: [] for engine in engines}
    for turn in range(turns):
        first = turn % len(engines)  # nobody always runs after the same one
        for engine in [*engines[first:], *engines[:first]]:
            seconds[engine.name].append(seconds_of(engine, counts[engine.name]))
    return seconds


def seconds_of(engine: Engine, count: int) -> float:
    """Mean of ``count`` inferences."""
    start = time.perf_counter()
    for _ in range(count):
        engine.invoke()
    return (time.perf_counter() - start) / count


def load(name: str) -> tuple[bytes, np.ndarray, np.ndarray | None]:
    """A model, an input, and what TFLite's reference kernels make of it, where that is known."""
    if name == WIDENED:
        from widened import widened

        x = np.random.default_rng(0).integers(-128, 128, (1, 32, 32, 32)).astype(np.int8)
        return widened((record.MODELS / "vgg11_cifar10.tflite").read_bytes()), x, None
    data = np.load(record.MODELS / f"{name}.npz")
    return (record.MODELS / f"{name}.tflite").read_bytes(), data["inputs"][0], data["expected"][0]


def measure(name: str, pruned: float, channels: int, turns: int) -> list[Timing]:
    """Times ``name`` with ``pruned`` of its filterlets pruned on top, in layers of so many ``channels`` and more; our
    output must be exact.
    """
    model, x, expected = load(name)
    if pruned:
        model, expected = prune(model, pruned, channels=channels), None
    with tempfile.TemporaryDirectory(prefix="dtmm-") as folder:
        found = engines(model, x, Path(folder))
        for engine in found:
            engine.invoke()
        outputs = {engine.name: engine.output().astype(int) for engine in found}
        expected = outputs[STOCK] if expected is None else expected.astype(int)
        differences = {key: int(np.abs(output - expected).max()) for key, output in outputs.items()}
        if differences[OURS]:
            raise click.ClickException(f"{name}: wrong result, off by up to {differences[OURS]}.")
        seconds = take_turns(found, turns)
    milliseconds = {key: 1e3 * statistics.median(values) for key, values in seconds.items()}
    return [
        Timing(
            model=name,
            sha256=record.checksum(model),
            pruned=pruned,
            engine=key,
            milliseconds=value,
            fastest=1e3 * min(seconds[key]),
            ratio=min(seconds[OURS]) / min(seconds[key]),
            largest_difference=differences[key],
        )
        for key, value in milliseconds.items()
    ]


def show(timings: list[Timing], console: Console) -> None:
    table = Table(title=f"Milliseconds on {record.processor()}, one thread", title_justify="left")
    for column in ("model", "pruned", "engine"):
        table.add_column(column)
    for column in ("median", "fastest", "ours : this", "largest difference"):
        table.add_column(column, justify="right")
    for timing in timings:
        if timing.engine == OURS:
            table.add_section()
        pruned = f"{timing.pruned:.0%}" if timing.pruned else "as it is"
        figures = (f"{timing.milliseconds:.3f}", f"{timing.fastest:.3f}", f"{timing.ratio:.2f}")
        table.add_row(timing.model, pruned, timing.engine, *figures, str(timing.largest_difference))
    console.print(table)


@click.command(help=__doc__)
@click.option("--model", "models", multiple=True, type=click.Choice(NAMES), default=NAMES)
@click.option(
    "--pruned",
    "shares",
    multiple=True,
    type=click.FloatRange(0, 1),
    default=[0.0, 0.75],
    show_default=True,
    help="Share of filterlets to prune at random; 0 leaves the model as it is.",
)
@click.option(
    "--channels",
    default=LEAST_CHANNELS,
    show_default=True,
    type=click.IntRange(1),
    help="Layers of fewer input channels are not pruned.",
)
@click.option("--turns", default=15, show_default=True, type=click.IntRange(1), help="Turns of each engine.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Also write the figures to this file.")
def main(models: tuple[str, ...], shares: tuple[float, ...], channels: int, turns: int, file: Path | None) -> None:
    console = Console(width=120)
    packages = {"ai-edge-litert": WITH_LITERT, "onnxruntime": WITH_ONNX_RUNTIME}
    for engine, there in zip((LITERT, ONNX_RUNTIME), packages.values(), strict=True):
        if not there:
            console.print(f"{engine} is left out: packages of the extra 'bench' are missing.")
    timings = [t for name in models for share in shares for t in measure(name, share, channels, turns)]
    show(timings, console)
    if file:
        versions = record.versions([name for name, there in packages.items() if there])
        versions["processor"] = record.processor()
        record.write(file, versions, [asdict(timing) for timing in timings])


if __name__ == "__main__":
    main()
