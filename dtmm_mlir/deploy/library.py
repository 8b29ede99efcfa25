"""The export table of a static library that ``iree-compile`` wrote, read from the object file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import Section, SymbolTableSection

from dtmm_mlir.errors import DtmmError

# Header, export count, attributes and names: offsets by pointer bytes; see runtime/include/dtmm/executable_library.h.
_OFFSETS = {4: (0, 12, 20, 32), 8: (0, 24, 40, 64)}
_ATTRIBUTE_BYTES = 64
_PAGE_BYTES = 4096
_CODE = ".text."


@dataclass(frozen=True)
class Export:
    """A dispatch function of a library; its ordinal is its place in the table."""

    name: str
    binding_count: int
    constant_count: int
    local_memory_bytes: int


@dataclass(frozen=True)
class Library:
    """What an object file says of itself.

    Attributes:
        query: name of the function that returns the library.
        version: of the ABI.
        exports: by ordinal.
    """

    query: str
    version: int
    exports: tuple[Export, ...]

    def ordinal(self, name: str) -> int:
        """The place of the export called ``name``; raises DtmmError where there is none, or more than one."""
        ordinals = [ordinal for ordinal, export in enumerate(self.exports) if export.name == name]
        if len(ordinals) != 1:
            raise DtmmError(f"the compiled library has {len(ordinals)} functions called '{name}' instead of one.")
        return ordinals[0]


def read_library(path: Path) -> Library:
    """Reads the library of the object file at ``path``.

    Raises:
        DtmmError: it is not such a file.
    """
    with path.open("rb") as file:
        try:
            return _ObjectFile(ELFFile(file)).library()
        except (ELFError, KeyError, IndexError, StopIteration, ValueError, struct.error) as error:
            raise DtmmError(f"the static library is not understood ({error!r}).", str(path)) from None


def code_sizes(path: Path) -> dict[str, int]:
    """Bytes of code of each function of the object file at ``path``; the compiler gives each a section of its own."""
    with path.open("rb") as file:
        sections = list(ELFFile(file).iter_sections())
    return {s.name.removeprefix(_CODE): s["sh_size"] for s in sections if s.name.startswith(_CODE)}


_Address = tuple[int, int]  # section index and offset in it


class _ObjectFile:
    """Follows pointers in an object file, which are relocations until it is linked."""

    def __init__(self, elf: ELFFile) -> None:
        self._pointer_bytes = elf.elfclass // 8
        self._sections: list[Section] = list(elf.iter_sections())
        self._symbols = next(s for s in self._sections if isinstance(s, SymbolTableSection))
        self._pointers: dict[_Address, _Address] = {}
        for section in self._sections:
            if isinstance(section, RelocationSection):
                self._read_relocations(section)

    def _read_relocations(self, section: RelocationSection) -> None:
        target = section["sh_info"]
        if self._sections[target].name.startswith((".text", ".ARM")):
            return
        for relocation in section.iter_relocations():
            symbol = self._symbols.get_symbol(relocation["r_info_sym"])
            offset = relocation["r_offset"]
            addend = relocation["r_addend"] if relocation.is_RELA() else self._word((target, offset))
            self._pointers[(target, offset)] = (symbol["st_shndx"], symbol["st_value"] + addend)

    def _data(self, address: _Address, size: int) -> bytes:
        section, offset = address
        return self._sections[section].data()[offset : offset + size]

    def _word(self, address: _Address) -> int:
        return int(struct.unpack("<I", self._data(address, 4))[0])

    def _string(self, address: _Address) -> str:
        section, offset = address
        data = self._sections[section].data()
        return data[offset : data.index(b"\0", offset)].decode()

    def library(self) -> Library:
        symbols = {symbol.name: symbol for symbol in self._symbols.iter_symbols()}
        query = next(name for name in symbols if name.endswith("_library_query"))
        root = symbols[f"{query}_v0"]
        section, start = root["st_shndx"], root["st_value"]
        header_at, count_at, *tables = _OFFSETS[self._pointer_bytes]
        header, attributes, names = (self._pointers[(section, start + at)] for at in (header_at, *tables))
        count = self._word((section, start + count_at))
        exports = []
        for ordinal in range(count):
            name = self._pointers[(names[0], names[1] + self._pointer_bytes * ordinal)]
            record = self._data((attributes[0], attributes[1] + _ATTRIBUTE_BYTES * ordinal), 12)
            _, pages, constants, bindings = struct.unpack("<QHBB", record)
            exports.append(Export(self._string(name), bindings, constants, pages * _PAGE_BYTES))
        return Library(query, self._word(header), tuple(exports))
