"""Writes the C++ library's tables: what BERT's normaliser makes of each character, and the cells of marching cubes.

    python embed/cpp/tools/make_tables.py            writes src/*_table.inc
    python embed/cpp/tools/make_tables.py --check    exit status 1 where they are not what it would write

The characters are asked of the package `tokenizers`, which bundles are made with: its Unicode version counts. The cells
are the table of Lorensen's marching cubes as scikit-image has it (T. Lewiner's LookUpTable.h; Lorensen and Cline 1987).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src"
HANGUL = range(0xAC00, 0xD7A4)  # decomposed by arithmetic
DROP, SPACE, SHIFT, SPACED = range(4)


def characters() -> Iterator[int]:
    yield from (c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF and c not in HANGUL)


def mapped() -> tuple[list[tuple[int, int, int, int]], list[tuple[int, list[int]]]]:
    """(first, last, kind, shift) of the runs of characters that the normaliser changes into none or one, and
    (character, what it becomes) of those that become two or three."""
    from tokenizers import normalizers

    bert = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
    runs: list[tuple[int, int, int, int]] = []
    several: list[tuple[int, list[int]]] = []
    for c in characters():
        text = bert.normalize_str(chr(c))
        if text == chr(c):
            continue
        spaced = len(text) == 3 and text[0] == text[2] == " "
        if len(text) in (2, 3) and not spaced:
            several.append((c, [ord(x) for x in text]))
            continue
        assert spaced or len(text) < 2, f"{c:#x}: becomes {text!a}, which the tables have no kind for"
        kind = SPACED if spaced else DROP if not text else SPACE if text == " " else SHIFT
        shift = ord(text.strip()) - c if kind in (SPACED, SHIFT) else 0
        if runs and runs[-1][1:] == (c - 1, kind, shift):
            runs[-1] = (runs[-1][0], c, kind, shift)
        else:
            runs.append((c, c, kind, shift))
    return runs, several


def punctuation() -> list[tuple[int, int]]:
    """(first, last) of the runs of characters that are words of their own."""
    from tokenizers import pre_tokenizers

    bert = pre_tokenizers.BertPreTokenizer()
    runs: list[tuple[int, int]] = []
    for c in characters():
        if len(bert.pre_tokenize_str(f"a{chr(c)}a")) == 3:
            if runs and runs[-1][1] == c - 1:
                runs[-1] = (runs[-1][0], c)
            else:
                runs.append((c, c))
    return runs


def rows(name: str, kind: str, cells: list[str], across: int) -> str:
    lines = [" ".join(cells[i : i + across]) for i in range(0, len(cells), across)]
    return f"constexpr {kind} {name}[] = {{\n" + "".join(f"    {line}\n" for line in lines) + "};\n"


def unicode_table() -> str:
    runs, several = mapped()
    text = "// Written by tools/make_tables.py; do not edit.\n"
    text += rows("runs", "Run", [f"{{{a:#x}, {b:#x}, {kind}, {shift}}}," for a, b, kind, shift in runs], 5)
    cells = [f"{{{c:#x}, {{{', '.join(f'{x:#x}' for x in some)}}}}}," for c, some in several]
    text += rows("several", "Several", cells, 5)
    return text + rows("punctuation", "Span", [f"{{{a:#x}, {b:#x}}}," for a, b in punctuation()], 8)


def cell_table() -> str:
    from skimage.measure._marching_cubes_lewiner import _to_array
    from skimage.measure._marching_cubes_lewiner_luts import CASESCLASSIC

    lines = []
    for row in _to_array(CASESCLASSIC).tolist():
        used = row[: row.index(-1)]
        lines.append(f'    "{"".join(f"{edge:x}" for edge in used)}",\n')
    head = "// Written by tools/make_tables.py; do not edit.\n"
    head += "// Edges of the triangles of each of 256 cells, a hexadecimal digit each: scikit-image's CASESCLASSIC, "
    head += "NOTICES.txt.\n"
    return head + "constexpr const char* cells[256] = {\n" + "".join(lines) + "};\n"


def main(arguments: list[str]) -> int:
    made = {"unicode_table.inc": unicode_table(), "cell_table.inc": cell_table()}
    if arguments == ["--check"]:
        return int(any((SOURCES / name).read_text() != text for name, text in made.items()))
    for name, text in made.items():
        (SOURCES / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
