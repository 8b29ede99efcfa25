"""MVE's assembly, run by a small interpreter: each product once, and addresses where they belong."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtmm_mlir.passes.kernels.mve_assembly import DATA, SUMS, WEIGHTS, assembly
from dtmm_mlir.passes.kernels.products import Product

_LOAD = re.compile(r"vldr(?:w.u32|b.u8) (q\d), \[(\w+)\](?:, #(-?\d+))?$")
_MOVE = re.compile(r"(add|sub)(?:w|\.w) (\w+), (\w+), #(\d+)$")
_PRODUCT = re.compile(r"(vmlava?)\.s8 (\w+), (q\d), (q\d)$")


def interpret(lines: list[str]) -> tuple[Counter[Product], dict[str, int], set[str]]:
    """What is multiplied, where the addresses end, and which sums begin with a product."""
    addresses, vectors, products, begun = {WEIGHTS: 0, DATA: 0}, dict[str, tuple[str, int]](), Counter[Product](), set()
    for line in lines:
        if load := _LOAD.match(line):
            vector, register, step = load.groups()
            vectors[vector] = (register, addresses[register])
            reach = 508 if "vldrw" in line else 127
            assert abs(int(step or 0)) <= reach
            if "vldrw" in line:
                assert addresses[register] % 4 == int(step or 0) % 4 == 0
            addresses[register] += int(step or 0)
        elif move := _MOVE.match(line):
            name, register, same, step = move.groups()
            assert register == same
            assert int(step) % (1 << 12) == 0 or int(step) < 1 << 12
            addresses[register] += int(step) if name == "add" else -int(step)
        else:
            product = _PRODUCT.match(line)
            assert product, line
            name, total, weights, data = product.groups()
            assert (vectors[weights][0], vectors[data][0]) == (WEIGHTS, DATA)
            products[Product(SUMS.index(total), vectors[weights][1], vectors[data][1])] += 1
            if name == "vmlav":
                assert total not in begun
                begun.add(total)
    return products, addresses, begun


@given(st.data())
def test_every_product_is_added_once(data: st.DataObject) -> None:
    alignments = {register: data.draw(st.sampled_from((1, 4))) for register in (WEIGHTS, DATA)}
    far = data.draw(st.sampled_from((64, 700, 9000)))
    offsets = {register: st.integers(0, far // step).map(step.__mul__) for register, step in alignments.items()}
    drawn = st.builds(Product, st.integers(0, 7), offsets[WEIGHTS], offsets[DATA])
    products = data.draw(st.lists(drawn, min_size=1, max_size=60))
    end, started = data.draw(offsets[WEIGHTS]), data.draw(st.booleans())

    done, addresses, begun = interpret(assembly(products, alignments, end, started))

    assert done == Counter(products)
    assert addresses[WEIGHTS] == end
    assert begun == (set() if started else {SUMS[p.sum] for p in products})


@pytest.mark.parametrize(("pixels", "filters", "loads"), [(4, 2, 12), (8, 1, 13), (2, 4, 16)])
def test_each_vector_is_loaded_once(pixels: int, filters: int, loads: int) -> None:
    """A run of three positions: as many loads as there are columns and weights, and no other instruction."""
    products = [
        Product(b * pixels + p, (k * filters + b) * 16, (p + k) * 32)
        for k in range(3)
        for b in range(filters)
        for p in range(pixels)
    ]
    products.sort(key=lambda p: p.data if pixels > 4 else 0)
    lines = assembly(products, {WEIGHTS: 4, DATA: 4}, 48 * filters, started=True)
    assert len(lines) == len(products) + loads
