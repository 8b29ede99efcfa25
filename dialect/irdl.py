"""Registers an IRDL file in a Python context.

The released wheel has IRDL's loader (it is what ``iree-opt --irdl-file`` calls) but no Python binding for it, so it is
looked up in the library's symbol table and called through ctypes.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from iree.compiler import _mlir_libs, ir

from dtmm_mlir.errors import DtmmError

_LOADER = "_Z16loadIRDLDialectsN4llvm9StringRefERN4mlir11MLIRContextE"
_ANCHOR = "mlirContextCreate"


@functools.cache
def _loader() -> Callable[[bytes, int, int], bool]:
    path = Path(_mlir_libs.__file__).with_name("libIREECompiler.so")
    library = ctypes.CDLL(os.fspath(path))
    loader, anchor = _symbol_value(path, _LOADER), _symbol_value(path, _ANCHOR)
    if loader is None or anchor is None:
        raise DtmmError(
            "the installed iree-base-compiler has no IRDL loader; install the version that dtmm-mlir pins "
            "(pip install --force-reinstall dtmm-mlir).",
            where=os.fspath(path),
        )
    base = (ctypes.cast(getattr(library, _ANCHOR), ctypes.c_void_p).value or 0) - anchor
    prototype = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p)
    return prototype(base + loader)


def _symbol_value(path: Path, name: str) -> int | None:
    """Value of the one ELF64 symbol called ``name``; reads the tables as bytes, since they hold 10^5 symbols."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        symbols = ELFFile(file).get_section_by_name(".symtab")
        if not isinstance(symbols, SymbolTableSection):
            return None
        strings = symbols.stringtable
        start, end = strings["sh_offset"], strings["sh_offset"] + strings["sh_size"]
        at = data.find(b"\0" + name.encode() + b"\0", start, end)
        if at < 0:
            return None
        key, size = struct.pack("<I", at + 1 - start), symbols["sh_entsize"]
        start, end = symbols["sh_offset"], symbols["sh_offset"] + symbols["sh_size"]
        values = set()
        at = data.find(key, start, end)
        while at >= 0:
            if (at - start) % size == 0:
                values.add(struct.unpack_from("<Q", data, at + 8)[0])
            at = data.find(key, at + 1, end)
        return values.pop() if len(values) == 1 else None


def _pointer(context: ir.Context) -> int:
    """The ``MLIRContext*`` inside a Python context."""
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    capsule = context._CAPIPtr
    return api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))


def load_irdl(context: ir.Context, path: Path) -> None:
    """Registers the dialects that the IRDL file ``path`` defines in ``context``.

    Raises:
        DtmmError: the installed compiler has no loader, or the file is not valid IRDL.
    """
    name = os.fsencode(path)
    if not _loader()(name, len(name), _pointer(context)):
        raise DtmmError("this IRDL file cannot be loaded.", where=os.fspath(path))
