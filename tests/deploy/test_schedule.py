"""Schedules read from IR."""

import pytest
from iree.compiler import ir

from dtmm_mlir.deploy.schedule import Copy, Dispatch, Fill, Kind, Range, Resource, Schedule, Tensor, read_schedule
from dtmm_mlir.errors import DtmmError

ARENA, CONSTANT, INPUT, OUTPUT = (Resource(kind) for kind in (Kind.ARENA, Kind.CONSTANT, Kind.INPUT, Kind.OUTPUT))

EXECUTABLE = """
hal.executable private @ex {
  hal.executable.variant public @static target(<"llvm-cpu", "static">) {
    hal.executable.export public @kernel ordinal(0) layout(#hal.pipeline.layout<constants = 1, bindings = [
        #hal.pipeline.binding<storage_buffer>, #hal.pipeline.binding<storage_buffer>]>)
        count(%device: !hal.device, %n: index) -> (index, index, index) {
      %c1 = arith.constant 1 : index
      %c4 = arith.constant 4 : index
      %x = arith.ceildivui %n, %c4 : index
      hal.return %x, %c1, %c1 : index, index, index
    }
    builtin.module {}
  }
}
"""


def _read(function: str, top_level: str = "") -> Schedule:
    text = f"{EXECUTABLE}\n{top_level}\n{function}"
    with ir.Context():
        return read_schedule(ir.Module.parse(text))


def _function(body: str) -> str:
    """A model that takes and returns tensor<64xi8>; ``body`` makes %y, a resource of 64 bytes, from %x."""
    return f"""
util.func public @main(%arg0: !hal.buffer_view) -> !hal.buffer_view {{
  %c0 = arith.constant 0 : index
  %c8 = arith.constant 8 : index
  %c9 = arith.constant 9 : index
  %c64 = arith.constant 64 : index
  %c100 = arith.constant 100 : index
  %c128 = arith.constant 128 : index
  %i7 = arith.constant -7 : i16
  %n = arith.constant -1 : i32
  %x = stream.tensor.import %arg0 : !hal.buffer_view -> tensor<64xi8> in !stream.resource<external>{{%c64}}
  {body}
  %r = stream.tensor.export %y : tensor<64xi8> in !stream.resource<external>{{%c64}} -> !hal.buffer_view
  util.return %r : !hal.buffer_view
}}
"""


DISPATCH = """
  %o, %t0 = stream.resource.alloca uninitialized : !stream.resource<external>{%c64} => !stream.timepoint
  %t1 = stream.cmd.execute await(%t0) => with(%x as %xx: !stream.resource<external>{%c64},
                                              %o as %oo: !stream.resource<external>{%c64}) {
    stream.cmd.dispatch @ex::@static::@kernel[%c9](%n : i32) {
      ro %xx[%c0 for %c64] : !stream.resource<external>{%c64},
      wo %oo[%c0 for %c64] : !stream.resource<external>{%c64}
    }
  } => !stream.timepoint
  %y = stream.timepoint.await %t1 => %o : !stream.resource<external>{%c64}
"""


def test_dispatch() -> None:
    schedule = _read(_function(DISPATCH))
    tensor = Tensor((64,), "i8", 64)
    assert (schedule.inputs, schedule.outputs, schedule.arena_bytes) == ([tensor], [tensor], 0)
    bindings = (Range(INPUT, 0, 64), Range(OUTPUT, 0, 64))
    assert schedule.steps == [Dispatch("kernel", (3, 1, 1), (0xFFFF_FFFF,), bindings, (1, 2))]


def test_transients_of_several_executes_share_the_arena_only_when_dead() -> None:
    body = """
  %a, %ta = stream.resource.alloca uninitialized : !stream.resource<transient>{%c100} => !stream.timepoint
  %b, %tb = stream.resource.alloca uninitialized : !stream.resource<transient>{%c64} => !stream.timepoint
  %done1 = stream.cmd.execute await(%ta) => with(%a as %aa: !stream.resource<transient>{%c100},
                                              %b as %bb: !stream.resource<transient>{%c64}) {
    stream.cmd.concurrent {
      stream.cmd.fill %i7, %aa[%c8 for %c64] : i16 -> !stream.resource<transient>{%c100}
      stream.cmd.serial {
        stream.cmd.copy %aa[%c8], %bb[%c0], %c64
            : !stream.resource<transient>{%c100} -> !stream.resource<transient>{%c64}
      }
    }
  } => !stream.timepoint
  %done2 = stream.resource.dealloca await(%done1) => %a : !stream.resource<transient>{%c100} => !stream.timepoint
  %c, %tc = stream.resource.alloca uninitialized : !stream.resource<transient>{%c64} => !stream.timepoint
  %done3 = stream.cmd.execute await(%tc) => with(%b as %bb: !stream.resource<transient>{%c64},
                                              %c as %cc: !stream.resource<transient>{%c64}) {
    stream.cmd.copy %bb[%c0], %cc[%c0], %c64 : !stream.resource<transient>{%c64} -> !stream.resource<transient>{%c64}
  } => !stream.timepoint
"""
    schedule = _read(_function(body + DISPATCH))
    assert schedule.arena_bytes == 192
    assert schedule.steps[:3] == [
        Fill(Range(ARENA, 8, 64), b"\xf9\xff"),
        Copy(Range(ARENA, 8, 64), Range(ARENA, 128, 64)),
        Copy(Range(ARENA, 128, 64), Range(ARENA, 0, 64)),
    ]


def test_part_of_an_allocation_is_copied_to_the_output() -> None:
    body = """
  %o, %t0 = stream.resource.alloca uninitialized : !stream.resource<external>{%c128} => !stream.timepoint
  %t1 = stream.cmd.execute await(%t0) => with(%x as %xx: !stream.resource<external>{%c64},
                                              %o as %oo: !stream.resource<external>{%c128}) {
    stream.cmd.dispatch @ex::@static::@kernel[%c8](%n : i32) {
      ro %xx[%c0 for %c64] : !stream.resource<external>{%c64},
      wo %oo[%c0 for %c128] : !stream.resource<external>{%c128}
    }
  } => !stream.timepoint
  %w = stream.timepoint.await %t1 => %o : !stream.resource<external>{%c128}
  %y = stream.resource.subview %w[%c64] : !stream.resource<external>{%c128} -> !stream.resource<external>{%c64}
"""
    schedule = _read(_function(body))
    assert schedule.steps[1:] == [Copy(Range(ARENA, 64, 64), Range(OUTPUT, 0, 64))]


INITIALIZER = """
util.global private @k : !stream.resource<constant>
util.initializer {{
  %c0 = arith.constant 0 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  %n = arith.constant 5 : i32
  %i = arith.constant 3 : i8
  %r = stream.resource.alloc uninitialized : !stream.resource<constant>{{%c8}}
  %t = stream.cmd.execute with(%r as %rr: !stream.resource<constant>{{%c8}}) {{
    stream.cmd.fill %i, %rr[%c4 for %c4] : i8 -> !stream.resource<constant>{{%c8}}
    {more}
  }} => !stream.timepoint
  %a = stream.timepoint.await %t => %r : !stream.resource<constant>{{%c8}}
  util.global.store %a, @k : !stream.resource<constant>
  util.return
}}
"""


def test_constants_that_need_no_dispatch_are_made_at_compile_time() -> None:
    schedule = _read(_function(DISPATCH), INITIALIZER.format(more=""))
    assert schedule.constants == [b"\0\0\0\0\3\3\3\3"]
    assert schedule.initial_steps == []


def test_constants_that_need_a_dispatch_stay_in_the_arena() -> None:
    dispatch = """stream.cmd.dispatch @ex::@static::@kernel[%c4](%n : i32) {
      ro %rr[%c0 for %c4] : !stream.resource<constant>{%c8},
      wo %rr[%c4 for %c4] : !stream.resource<constant>{%c8}
    }"""
    schedule = _read(_function(DISPATCH), INITIALIZER.format(more=dispatch))
    assert schedule.persistent_bytes == 64
    bindings = (Range(ARENA, 0, 4), Range(ARENA, 4, 4))
    assert schedule.initial_steps == [
        Fill(Range(ARENA, 4, 4), b"\3"),
        Dispatch("kernel", (1, 1, 1), (5,), bindings, (1, 2)),
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%d = arith.cmpi eq, %c0, %c8 : index\n" + DISPATCH, "'arith.cmpi': this op is not understood"),
        (DISPATCH.replace("wo %oo", "wo %xx"), "'stream.cmd.dispatch': it writes to input 0"),
        (DISPATCH.replace("%oo[%c0", "%oo[%c8"), "'stream.cmd.dispatch': it reaches outside its resource"),
        (
            DISPATCH.replace("%n : i32", "%c8 : index"),
            "'stream.cmd.dispatch': its constant of type index is not an i32",
        ),
    ],
)
def test_what_is_not_understood_is_an_error_that_names_the_op(body: str, message: str) -> None:
    with pytest.raises(DtmmError, match=message):
        _read(_function(body))


def test_top_level_ops_are_checked() -> None:
    with pytest.raises(DtmmError, match=r"'func\.func': this op has no place"):
        _read(_function(DISPATCH), "func.func private @f()")


def test_there_must_be_one_public_function() -> None:
    with pytest.raises(DtmmError, match="exactly one public function; it has main, other"):
        _read(_function(DISPATCH) + _function(DISPATCH).replace("@main", "@other"))
