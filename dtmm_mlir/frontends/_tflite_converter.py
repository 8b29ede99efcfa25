"""The native TFLite converter as a program of its own: ``SOURCE OUTPUT SHAPES``.

It is native code that reads files of unknown origin and prints what it thinks: in a child process a crash is an exit
code and its output can be read. Starting it costs 0.05 s.

SHAPES is a JSON object ``{input tensor name: shape}``; OUTPUT receives MLIR bytecode.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Converts a TFLite file to TOSA bytecode; arguments are both paths and the inputs' shapes as JSON."""
    from tosa_converter_for_tflite import (  # the only public entry that freezes shapes has an underscore
        TosaConverterDebugInfo,
        TosaConverterOutputFormat,
        _tflite_flatbuffer_to_tosa_mlir,
    )

    source, output, shapes = sys.argv[1:]
    try:
        _tflite_flatbuffer_to_tosa_mlir(
            source,
            output,
            TosaConverterOutputFormat.Bytecode,
            TosaConverterDebugInfo.Enable,
            override_tflite_input_shape=json.loads(shapes),
        )
    except RuntimeError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
