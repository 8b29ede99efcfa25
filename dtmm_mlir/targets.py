"""What the compiler knows about each processor. Adding a target is adding a record."""

from __future__ import annotations

import platform
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from dtmm_mlir.errors import DtmmError


@dataclass(frozen=True)
class Memory:
    """A region of a chip's address space, in bytes."""

    origin: int
    length: int


@dataclass(frozen=True)
class Board:
    """A board that QEMU models, on which an artifact of this target is run.

    Attributes:
        machine: QEMU's ``-M`` name; also the folder name below ``runtime/boards``.
        flash: where code and constants are placed.
        ram: where the arena, the stack and the harness's buffers are placed.
        gcc_flags: flags of the cross compiler for this core.
        family: folder below ``runtime/boards`` with the start-up code of this kind of processor.
        qemu: the program that models the board.
        qemu_flags: its further flags.
    """

    machine: str
    flash: Memory
    ram: Memory
    gcc_flags: tuple[str, ...]
    family: str = "cortex-m"
    qemu: str = "qemu-system-arm"
    qemu_flags: tuple[str, ...] = ()

    @property
    def qemu_command(self) -> list[str]:
        """QEMU with this board, yet without an image."""
        return [self.qemu, "-M", self.machine, *self.qemu_flags]


@dataclass(frozen=True)
class Target:
    """A processor to compile for.

    Attributes:
        name: what users pass as ``--target``.
        triple: LLVM target triple; ``None`` for the machine the compiler runs on.
        cpu: LLVM cpu name.
        cpu_features: LLVM's names of extensions that ``cpu`` does not imply.
        abi: LLVM's name of the calling convention where the triple does not say it.
        float_abi: ``hard`` or ``soft``; ``None`` for the host.
        isa: which kernel emitter serves it: ``mve``, ``dsp``, ``thumb1``, ``thumb2``, ``riscv``, ``avx2``,
            ``avxvnni``, ``avx512vnni``, ``dotprod`` or ``generic``.
        vector_bytes: bytes of one SIMD register; kernels pad channels to this many.
        index_bits: width of ``index`` and of a pointer.
        cross_prefix: prefix of the GNU cross tools (``arm-none-eabi-``); ``None`` for the host.
        board: where QEMU runs it; ``None`` for the host.
    """

    name: str
    triple: str | None
    cpu: str
    float_abi: str | None
    isa: str
    vector_bytes: int
    index_bits: int
    cpu_features: tuple[str, ...] = ()
    abi: str | None = None
    cross_prefix: str | None = None
    board: Board | None = None

    @property
    def is_host(self) -> bool:
        return self.triple is None

    def iree_flags(self) -> list[str]:
        """Flags of ``iree-compile`` that select this target."""
        flags = [
            "--iree-hal-target-device=local",
            "--iree-hal-local-target-device-backends=llvm-cpu",
            f"--iree-llvmcpu-target-cpu={self.cpu}",
        ]
        if self.triple is None:
            return flags
        if self.cpu_features:
            flags.append(f"--iree-llvmcpu-target-cpu-features={','.join(self.cpu_features)}")
        if self.abi:
            flags.append(f"--iree-llvmcpu-target-abi={self.abi}")
        return [
            *flags,
            f"--iree-llvmcpu-target-triple={self.triple}",
            f"--iree-llvmcpu-target-float-abi={self.float_abi}",
            f"--iree-vm-target-index-bits={self.index_bits}",
            "--iree-llvmcpu-link-embedded=false",
            "--iree-llvmcpu-link-static",
            "--iree-llvmcpu-disable-distribution",
            "--iree-llvmcpu-debug-symbols=false",
        ]


def isa_with(features: Collection[str]) -> str:
    """The kernels that suit a processor best.

    Args:
        features: what it has, as Linux calls it.
    """
    needed = {
        "avx512vnni": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"},
        "avxvnni": {"avx2", "fma", "avx_vnni"},
        "avx2": {"avx2", "fma"},
        "dotprod": {"asimddp"},
    }
    return next((isa for isa, those in needed.items() if those <= set(features)), "generic")


def _features() -> Collection[str]:
    """Those of this machine's processor."""
    if (sys.platform, platform.machine()) == ("darwin", "arm64"):
        return ["asimddp"]
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.read_text().split() if cpuinfo.exists() else []


HOST = Target(
    name="host",
    triple=None,
    cpu="host",
    float_abi=None,
    isa=isa_with(_features()),
    vector_bytes=16,
    index_bits=64,
)

GENERIC = replace(HOST, name="generic", cpu="generic", isa="generic")
"""This machine's architecture, with the instructions that all its processors have."""

X86_64_V3 = replace(HOST, name="x86-64-v3", cpu="x86-64-v3", isa="avx2")
"""Processors of PCs and servers since 2013 or so; only where the compiler runs on one of that architecture."""

CORTEX_M55 = Target(
    name="cortex-m55",
    triple="thumbv8.1m.main-none-unknown-eabihf",
    cpu="cortex-m55",
    float_abi="hard",
    isa="mve",
    vector_bytes=16,
    index_bits=32,
    cross_prefix="arm-none-eabi-",
    board=Board(
        machine="mps3-an547",
        flash=Memory(0x0000_0000, 512 << 10),
        ram=Memory(0x0100_0000, 2 << 20),
        gcc_flags=("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"),
    ),
)


def _cortex_m(name: str, architecture: str, isa: str, machine: str, *, fpu: str | None = None) -> Target:
    """A Cortex-M without vectors, on one of QEMU's MPS2 boards.

    Args:
        architecture: Arm's name in LLVM triples, e.g. ``v7em``.
        fpu: GCC's name of the floating-point unit; ``None`` for none.
    """
    secure = machine == "mps2-an505"  # runs in the secure world, whose memories lie elsewhere
    float_flags = ("-mfloat-abi=soft",) if fpu is None else ("-mfloat-abi=hard", f"-mfpu={fpu}")
    return Target(
        name=name,
        triple=f"thumb{architecture}-none-unknown-eabi" + ("hf" if fpu else ""),
        cpu=name,
        float_abi="hard" if fpu else "soft",
        isa=isa,
        vector_bytes=4,
        index_bits=32,
        cross_prefix="arm-none-eabi-",
        board=Board(
            machine=machine,
            flash=Memory(0x1000_0000 if secure else 0x0000_0000, 4 << 20),
            ram=Memory(0x3800_0000 if secure else 0x2000_0000, 4 << 20),
            gcc_flags=(f"-mcpu={name}", "-mthumb", *float_flags),
        ),
    )


CORTEX_M33 = _cortex_m("cortex-m33", "v8m.main", "dsp", "mps2-an505", fpu="fpv5-sp-d16")
CORTEX_M7 = _cortex_m("cortex-m7", "v7em", "dsp", "mps2-an500", fpu="fpv5-d16")
CORTEX_M4 = _cortex_m("cortex-m4", "v7em", "dsp", "mps2-an386", fpu="fpv4-sp-d16")
CORTEX_M3 = _cortex_m("cortex-m3", "v7m", "thumb2", "mps2-an385")
CORTEX_M0PLUS = _cortex_m("cortex-m0plus", "v6m", "thumb1", "mps2-an385")  # an M3 that runs the M0+'s instructions

RISCV32 = Target(
    name="riscv32",
    triple="riscv32-unknown-unknown-elf",
    cpu="generic-rv32",
    float_abi="soft",
    isa="riscv",
    vector_bytes=4,
    index_bits=32,
    cpu_features=("+m", "+c"),
    abi="ilp32",
    cross_prefix="riscv64-unknown-elf-",
    board=Board(
        machine="virt",
        flash=Memory(0x8000_0000, 4 << 20),
        ram=Memory(0x8040_0000, 4 << 20),
        gcc_flags=("-march=rv32imc", "-mabi=ilp32", "--specs=picolibc.specs"),
        family="riscv",
        qemu="qemu-system-riscv32",
        qemu_flags=("-cpu", "rv32,a=off,f=off,d=off", "-bios", "none"),
    ),
)

_X86_64 = (X86_64_V3,) if platform.machine() in ("x86_64", "AMD64") else ()

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        HOST,
        GENERIC,
        *_X86_64,
        CORTEX_M55,
        CORTEX_M33,
        CORTEX_M7,
        CORTEX_M4,
        CORTEX_M3,
        CORTEX_M0PLUS,
        RISCV32,
    )
}


def get_target(name: str) -> Target:
    """The record called ``name``.

    Raises:
        DtmmError: no such target; the message lists those there are.
    """
    try:
        return TARGETS[name]
    except KeyError:
        raise DtmmError(f"there is no target '{name}'; known targets are {', '.join(sorted(TARGETS))}.") from None
