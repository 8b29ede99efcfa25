"""Products of int8 vectors as assembly, for cores that multiply one by one.

Each weight is loaded once for a block of sums, and each input once for all filters whose weights are in registers. LLVM
loads everything early and spills what does not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dtmm_mlir.passes.kernels.products import Product, Tile, tiles

_LANES = 4
"""Weights of a vector."""


@dataclass(frozen=True)
class Core:
    """Registers and instructions.

    Attributes:
        sums: as many as a block has at most.
        weights, data: addresses.
        filters: the weights that one input is multiplied by.
        input: that input; also written for nothing but to move an address.
        products: those not yet added; none where one instruction multiplies and adds.
        reach: offsets of loads are from the first to the last but one.
        load: loads and extends a byte; of a register, an address and an offset.
        far: moves an address by any step; of the address, the step and ``input``.
        near: the same by one within reach.
    """

    sums: tuple[str, ...]
    weights: str
    data: str
    filters: tuple[str, ...]
    input: str
    products: tuple[str, ...]
    reach: tuple[int, int]
    load: str
    near: str
    far: tuple[str, ...]

    def for_sums(self, count: int) -> Core:
        """Registers of other sums hold further weights, up to four in all."""
        return replace(self, sums=self.sums[:count], filters=(*self.filters, *self.sums[count:])[:_LANES])

    @property
    def changed(self) -> tuple[str, ...]:
        """What is written besides sums and addresses."""
        return (*self.filters, self.input, *self.products)

    def reaches(self, offset: int) -> bool:
        """Whether a load has this offset."""
        return self.reach[0] <= offset < self.reach[1]

    def move(self, address: str, step: int) -> list[str]:
        """Moves an address by ``step`` bytes."""
        lines = ((self.near,) if self.reaches(step) else self.far) if step else ()
        return [line.format(address=address, step=step, input=self.input) for line in lines]

    def add_products(self, factors: Sequence[tuple[str, str]]) -> list[str]:
        """Adds products of ``input`` to sums, each with a weight; some in turn, so that none is needed at once."""
        if not self.products:
            return [f"mla {total}, {self.input}, {weight}, {total}" for total, weight in factors]
        lines = []
        for start in range(0, len(factors), len(self.products)):
            some = list(zip(self.products, factors[start:], strict=False))
            lines += [f"mul {product}, {self.input}, {weight}" for product, (_, weight) in some]
            lines += [f"add {total}, {total}, {product}" for product, (total, _) in some]
        return lines


RISCV = Core(
    sums=(*(f"a{i}" for i in range(8)), *(f"s{i}" for i in range(2, 10))),
    weights="t0",
    data="t1",
    filters=("t2", "t3", "t4", "t5"),
    input="t6",
    products=("s10", "s11"),
    reach=(-2048, 2048),
    load="lb {target}, {offset}({address})",
    near="addi {address}, {address}, {step}",
    far=("li {input}, {step}", "add {address}, {address}, {input}"),
)
"""RV32IM; s0 and s1 are the compiler's."""

THUMB2 = Core(
    sums=("r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr"),
    weights="r9",
    data="r11",
    filters=("r1", "r3"),
    input="r5",
    products=(),
    reach=(0, 4096),
    load="ldrsb.w {target}, [{address}, #{offset}]",
    near="addw {address}, {address}, #{step}",
    far=("movw {input}, #:lower16:({step})", "movt {input}, #:upper16:({step})", "add.w {address}, {address}, {input}"),
)
"""Armv7-M; r7 is the compiler's."""


def assembly(core: Core, products: Sequence[Product], length: int) -> list[str]:
    """The instructions of ``products``, one a line.

    ``core.weights`` moves by ``length`` bytes, ``core.data`` anywhere.
    """
    return _multiply(core, tiles(products, len(core.filters)), length, _LANES)


def channel(core: Core, rows: Sequence[Sequence[int]], pixels: int, step: int) -> list[str]:
    """The same of one channel: a weight for each position, and inputs at neighbouring pixels.

    ``core.weights`` stays where it is. Registers of sums that are not needed hold weights.

    Args:
        rows: of each position, by row of the kernel, bytes from the first pixel's input to the one it multiplies.
        step: bytes from pixel to pixel.
    """
    core, parts, number = core.for_sums(pixels), list[Tile](), 0
    for row in rows:
        for first in range(0, len(row), len(core.filters)):
            some = row[first : first + len(core.filters)]
            parts.append({number + i: {at + p * step: p for p in range(pixels)} for i, at in enumerate(some)})
            number += len(some)
    return _multiply(core, parts, 0, 1)


def _multiply(core: Core, parts: Sequence[Tile], length: int, lanes: int) -> list[str]:
    """The products of vectors of ``lanes`` weights, part by part."""
    lines, base = list[str](), {core.weights: 0, core.data: 0}

    def load(target: str, address: str, at: int) -> None:
        if not core.reaches(at - base[address]):
            lines.extend(core.move(address, at - base[address]))
            base[address] = at
        lines.append(core.load.format(target=target, address=address, offset=at - base[address]))

    for tile in parts:
        registers = dict(zip(tile, core.filters, strict=False))
        inputs = sorted({at for sums in tile.values() for at in sums})
        for lane in range(lanes):
            for weights, register in registers.items():
                load(register, core.weights, weights + lane)
            for at in inputs:
                load(core.input, core.data, at + lane)
                used = [weights for weights in tile if at in tile[weights]]
                lines += core.add_products([(core.sums[tile[weights][at]], registers[weights]) for weights in used])
    return lines + core.move(core.weights, length - base[core.weights])
