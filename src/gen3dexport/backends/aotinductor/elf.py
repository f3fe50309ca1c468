"""As much of the ELF format as a package's check needs: libraries needed, symbols, and the architecture of a cubin.

Fields are those of the System V ABI (64-bit, little-endian); the meaning of a cubin's flags is that of NVIDIA's
CUDA ABI versions 7 and 8, checked against `cuobjdump`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from gen3dexport.errors import VerificationError

_CUDA_MACHINE = 190
_DYNAMIC, _SYMBOLS, _NOBITS = 6, 2, 8
_NEEDED = 1


@dataclass(frozen=True)
class Section:
    """A section: kind, address in memory, place in the file, its string table, and the size of one entry."""

    kind: int
    address: int
    offset: int
    size: int
    strings: int
    entry: int


class Elf:
    """An ELF file inside `data` at `start` (a package's member is read where it lies)."""

    def __init__(self, data: memoryview, start: int = 0) -> None:
        """Read the header and section table.

        Raises:
            VerificationError: when it is not a 64-bit little-endian ELF file.
        """
        self._data, self._start = data, start
        ident = bytes(data[start : start + 16])
        if len(ident) < 16 or ident[:6] != b"\x7fELF\x02\x01":
            raise VerificationError("not a 64-bit little-endian ELF file; the package is damaged, build it again")
        self.abi = ident[8]
        (self.machine,) = self._read("<H", 18)
        (table,) = self._read("<Q", 40)
        (self.flags,) = self._read("<I", 48)
        entry, count = self._read("<HH", 58)
        self.sections = [self._section(table + i * entry) for i in range(count)]

    def _read(self, form: str, offset: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(form, self._data, self._start + offset)
        except struct.error as error:
            raise VerificationError("an ELF file inside the package is cut short; build it again") from error

    def _section(self, offset: int) -> Section:
        _, kind, _, address, place, size, link, _, _, entry = self._read("<IIQQQQIIQQ", offset)
        return Section(kind, address, place, size, link, entry)

    def _text(self, table: Section, offset: int) -> str:
        begin = self._start + table.offset + offset
        raw = bytes(self._data[begin : begin + 4096])
        return raw[: raw.index(b"\0")].decode()

    def needed(self) -> list[str]:
        """The libraries that the loader must find (DT_NEEDED), in order."""
        return [
            self._text(self.sections[section.strings], value)
            for section in self._of_kind(_DYNAMIC)
            for tag, value in self._entries(section, "<QQ", 16)
            if tag == _NEEDED
        ]

    def symbol(self, name: str) -> int | None:
        """Where the bytes of the symbol begin, counted from the start of the ELF file; None when there is none."""
        for section in self._of_kind(_SYMBOLS):
            strings = self.sections[section.strings]
            for text, _, index, value, _ in self._entries(section, "<IHHQQ", section.entry):
                if text and 0 < index < len(self.sections) and self._text(strings, text) == name:
                    home = self.sections[index]
                    return None if home.kind == _NOBITS else home.offset + value - home.address
        return None

    def cuda_arch(self) -> str:
        """The architecture of a cubin, e.g. `sm_90`.

        Raises:
            VerificationError: when it is not a cubin.
        """
        if self.machine != _CUDA_MACHINE:
            raise VerificationError(f"not a CUDA binary (ELF machine {self.machine}); build the package again")
        return f"sm_{(self.flags >> 8 if self.abi >= 8 else self.flags) & 0xFF}"

    def _of_kind(self, kind: int) -> Iterator[Section]:
        return (section for section in self.sections if section.kind == kind)

    def _entries(self, section: Section, form: str, size: int) -> Iterator[tuple[int, ...]]:
        return (self._read(form, section.offset + i * size) for i in range(section.size // size))
