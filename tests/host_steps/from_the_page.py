"""What docs/host-steps.md says, written down a second time without NumPy's generator, scikit-image or tokenizers.

An implementer has the page alone; the tests hold it by these.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PAGE = Path(__file__).parents[2] / "docs" / "host-steps.md"
_32, _64, _128 = 2**32 - 1, 2**64 - 1, 2**128 - 1
_F = np.float32


def _words(seed: int, count: int) -> list[int]:
    """`count` words of 32 bits of the seed's sequence."""
    entropy = []
    while seed or not entropy:
        entropy.append(seed & _32)
        seed >>= 32
    a = 0x43B0D7E5

    def hashed(v: int) -> int:
        nonlocal a
        v ^= a
        a = a * 0x931E8875 & _32
        v = v * a & _32
        return v ^ v >> 16

    def mixed(x: int, y: int) -> int:
        v = (x * 0xCA01F9DD - y * 0x4973F715) & _32
        return v ^ v >> 16

    pool = [hashed(entropy[i] if i < len(entropy) else 0) for i in range(4)]
    for i in range(4):
        for j in range(4):
            if i != j:
                pool[j] = mixed(pool[j], hashed(pool[i]))
    for word in entropy[4:]:
        for j in range(4):
            pool[j] = mixed(pool[j], hashed(word))
    b, found = 0x8B51F9DD, []
    for i in range(count):
        v = pool[i % 4] ^ b
        b = b * 0x58F38DED & _32
        v = v * b & _32
        found.append(v ^ v >> 16)
    return found


class Pcg64:
    """The generator; a draw of 64 bits gives two of 32, the low half first."""

    def __init__(self, seed: int) -> None:
        w = _words(seed, 8)
        q = [w[2 * i] | w[2 * i + 1] << 32 for i in range(4)]
        self.step = ((q[2] << 64 | q[3]) << 1 | 1) & _128
        self.state = ((self.step + (q[0] << 64 | q[1])) * 0x2360ED051FC65DA44385DF649FCCF645 + self.step) & _128
        self.half: int | None = None

    def bits(self) -> int:
        """32 bits."""
        if self.half is not None:
            kept, self.half = self.half, None
            return kept
        self.state = (self.state * 0x2360ED051FC65DA44385DF649FCCF645 + self.step) & _128
        x, turn = (self.state >> 64 ^ self.state) & _64, self.state >> 122
        x = (x >> turn | x << (64 - turn)) & _64
        self.half = x >> 32
        return x & _32

    def unit(self) -> np.float32:
        """A float32 in [0, 1)."""
        return _F(self.bits() >> 8) * _F(2.0**-24)


def _layers() -> tuple[list[int], list[np.float32], list[np.float32]]:
    """The ziggurat's tables k, w and f."""
    r, v = 3.6541528853610088, 0.00492867323399

    def density(x: float) -> float:
        return math.exp(-0.5 * x * x)

    k, w, f = [0] * 256, [_F(0)] * 256, [_F(0)] * 256
    q = v / density(r)
    k[0], w[0], f[0] = int(r / q * 2**23), _F(q / 2**23), _F(1)
    w[255], f[255] = _F(r / 2**23), _F(density(r))
    x = above = r
    for i in range(254, 0, -1):
        x = math.sqrt(-2 * math.log(v / x + density(x)))
        k[i + 1] = int(x / above * 2**23)
        above = x
        w[i], f[i] = _F(x / 2**23), _F(density(x))
    return k, w, f


_K, _W, _FX = _layers()


def noise(generator: Pcg64, count: int) -> NDArray[np.float32]:
    """Standard normal numbers."""
    return np.array([_normal(generator) for _ in range(count)], np.float32)


def _normal(generator: Pcg64) -> np.float32:
    while True:
        bits = generator.bits()
        layer, negative, size = bits & 255, bits >> 8 & 1, bits >> 9
        x = _F(size) * _W[layer]
        x = -x if negative else x
        if size < _K[layer]:
            return x
        if layer == 0:
            while True:
                a = _F(-0.27366123732975828) * _F(math.log1p(-float(generator.unit())))
                b = -_F(math.log1p(-float(generator.unit())))
                if b + b > a * a:
                    return -(_F(3.6541528853610088) + a) if size >> 8 & 1 else _F(3.6541528853610088) + a
        edge = (_FX[layer - 1] - _FX[layer]) * generator.unit() + _FX[layer]
        if float(edge) < math.exp(-0.5 * float(x) * float(x)):
            return x


CORNERS = ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0))
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
Cell = tuple[int, int, int]


def cases() -> list[list[int]]:
    """The table of the page: of each case, the edges of its triangles."""
    block = PAGE.read_text(encoding="utf-8").partition("<!-- made cases -->")[2].partition("<!-- end -->")[0]
    words = [word for line in block.splitlines() if "|" in line for word in line.partition("|")[2].split()]
    return [[] if word == "-" else [int(edge, 16) for edge in word] for word in words]


def surface(logits: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vertices and faces of the surface where logits [R, R, R] cross 0."""
    hair = _F(1e-3) * np.abs(logits).max()
    inner = np.where(logits > 0, np.maximum(logits, hair), np.minimum(logits, -hair))
    size = len(logits)
    table, known = cases(), dict[tuple[Cell, Cell], int]()
    vertices: list[list[float]] = []
    faces: list[int] = []

    def value(cell: Cell) -> float:
        inside = all(0 < c <= size for c in cell)
        i, j, k = (min(max(c - 1, 0), size - 1) for c in cell)
        found = float(inner[i, j, k])
        return found if inside else -abs(found)

    for origin in np.ndindex(size + 1, size + 1, size + 1):
        places = [(origin[0] + a, origin[1] + b, origin[2] + c) for a, b, c in CORNERS]
        values = [value(place) for place in places]
        for edge in table[sum(1 << n for n, v in enumerate(values) if v > 0)]:
            a, b = EDGES[edge]
            key = (min(places[a], places[b]), max(places[a], places[b]))
            if key not in known:
                known[key] = len(vertices)
                p, q = (1 / (2.0**-52 + abs(values[n])) for n in (a, b))
                shares = [(CORNERS[a][axis] * p + CORNERS[b][axis] * q) / (p + q) for axis in range(3)]
                vertices.append([o + share for o, share in zip(origin, shares, strict=True)])
            faces.append(known[key])
    points = (np.array(vertices, np.float32) - _F(0.5)) / _F(size) - _F(0.5)
    return points.astype(np.float32), np.array(faces, np.int64).reshape(-1, 3)


def normals(vertices: NDArray[np.float32], faces: NDArray[np.int64]) -> NDArray[np.float32]:
    """Unit normals of the vertices."""

    def unit(v: NDArray[np.float64]) -> NDArray[np.float64]:
        length = math.sqrt(float(v @ v))
        return v / length if length else v

    total = np.zeros(vertices.shape)
    for face in faces:
        points = vertices[face].astype(np.float64)
        flat = unit(np.cross(points[1] - points[0], points[2] - points[0]))
        for n, vertex in enumerate(face):
            ahead, behind = unit(points[(n + 1) % 3] - points[n]), unit(points[n - 1] - points[n])
            total[vertex] += math.acos(min(1.0, max(-1.0, float(ahead @ behind)))) * flat
    return np.array([unit(v) if float(v @ v) > 1e-24 else (0, 0, 1) for v in total], np.float32)


_CJK = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F))
_CJK += ((0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))


def _cleaned(text: str) -> str:
    found = []
    for c in text:
        control = c not in "\t\n\r" and unicodedata.category(c) in ("Cc", "Cf", "Co")
        if c.isspace() and not control:
            found.append(" ")
        elif not control and c != "\N{REPLACEMENT CHARACTER}":
            found.append(f" {c} " if any(low <= ord(c) <= high for low, high in _CJK) else c)
    return "".join(found)


def _lowered(text: str) -> str:
    plain = (c for c in unicodedata.normalize("NFD", _cleaned(text)) if unicodedata.category(c) != "Mn")
    return "".join(c.lower() for c in plain)


def _pieces(text: str) -> Iterator[str]:
    word = ""
    for c in text:
        mark = c in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" or unicodedata.category(c).startswith("P")
        if mark or c.isspace():
            if word:
                yield word
            word = ""
            if mark:
                yield c
        else:
            word += c
    if word:
        yield word


def _word(word: str, vocabulary: Mapping[str, int]) -> list[int]:
    unknown = vocabulary["[UNK]"]
    if len(word) > 100:
        return [unknown]
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                found.append(vocabulary[piece])
                start = end
                break
        else:
            return [unknown]
    return found


def tokens(text: str, vocabulary: Mapping[str, int]) -> list[int]:
    """Ids of a text with its marks."""
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    found = [vocabulary["[CLS]"]]
    for part in re.split(f"({'|'.join(map(re.escape, special))})", text):
        if part in special:
            found.append(vocabulary[part])
        else:
            found += [i for word in _pieces(_lowered(part)) for i in _word(word, vocabulary)]
    return [*found, vocabulary["[SEP]"]]
