"""Furniture: chair, table, bench, bed, shelf and lamp."""

from __future__ import annotations

import math

from training.trellis_mini.category import FACING, Category, Params, adj, part
from training.trellis_mini.sdf import Field, accent, box, corners, ellipsoid, empty, pillar, rod, sides, union

FLOOR = -0.9
_BACKS = {"none": 0.0, "low": 0.4, "high": 0.8}


def _armrests(x: float, y: tuple[float, float], z: float) -> Field:
    """Rails at x and -x above a seat at z, each on a post at its front end."""
    rails = sides(x - 0.08, y, (z + 0.22, z + 0.38), 0.08)
    return union(rails, sides(x - 0.08, (y[0], y[0] + 0.16), (z, z + 0.3), 0.08))


def chair(p: Params) -> Field:
    """A seat with legs, a back and armrests."""
    half = {"narrow": 0.4, "medium": 0.58, "wide": 0.8}[p["width"]]
    seat = {"low": -0.4, "high": 0.0}[p["seat"]]
    depth = 0.55
    out = [box((-half, half), (-depth, depth), (seat - 0.14, seat + 0.04))]
    if p["back"] != "none":
        out.append(box((-half, half), (depth - 0.18, depth), (seat, seat + 0.04 + _BACKS[p["back"]])))
    if p["legs"] == "pedestal":
        legs = union(pillar((FLOOR, seat), 0.14), pillar((FLOOR, FLOOR + 0.14), min(half, 0.5)))
    else:
        leg = {"thin": 0.07, "thick": 0.14}[p["legs"]]
        legs = corners(half - leg, depth - leg, (FLOOR, seat), leg)
    out.append(accent(legs, seat - 0.14))
    if p["arms"] == "yes":
        out.append(_armrests(half, (-depth, depth), seat))
    return union(*out)


def table(p: Params) -> Field:
    """A top on legs, with an optional lower shelf."""
    size = {"small": 0.58, "large": 0.88}[p["size"]]
    top = {"low": -0.35, "medium": 0.1, "tall": 0.6}[p["height"]]
    thick = {"thin": 0.13, "thick": 0.28}[p["top"]]
    if p["shape"] == "round":
        out, x, y = [pillar((top - thick, top), size)], 0.62 * size, 0.62 * size
    else:
        x, y = size, size * {"square": 1.0, "rectangular": 0.58}[p["shape"]]
        out = [box((-x, x), (-y, y), (top - thick, top))]
    if p["legs"] == "pedestal":
        legs = union(pillar((FLOOR, top), 0.15), pillar((FLOOR, FLOOR + 0.14), 0.75 * y))
    elif p["legs"] == "panels":
        legs = sides(x - 0.08, (-y, y), (FLOOR, top), 0.08)
    else:
        leg = {"thin": 0.07, "thick": 0.14}[p["legs"]]
        legs = corners(x - leg, y - leg, (FLOOR, top), leg)
    out.append(accent(legs, top - thick))
    if p["shelf"] == "yes":
        level = FLOOR + 0.4 * (top - FLOOR)
        out.append(box((-x + 0.05, x - 0.05), (-y + 0.05, y - 0.05), (level - 0.13, level)))
    return union(*out)


def bench(p: Params) -> Field:
    """A long seat along x with supports, a back and armrests."""
    half = {"short": 0.58, "long": 0.92}[p["length"]]
    thick = {"thin": 0.14, "thick": 0.28}[p["seat"]]
    seat, depth = -0.25, 0.38
    out = [box((-half, half), (-depth, depth), (seat - thick, seat))]
    if p["back"] != "none":
        out.append(box((-half, half), (depth - 0.16, depth), (seat - 0.1, seat + _BACKS[p["back"]])))
    if p["legs"] == "four":
        out.append(accent(corners(half - 0.12, depth - 0.09, (FLOOR, seat), 0.08), seat - thick))
    elif p["legs"] == "panels":
        out.append(accent(sides(half - 0.14, (-depth, depth), (FLOOR, seat), 0.1), seat - thick))
    else:
        out.append(accent(box((-half + 0.08, half - 0.08), (-depth + 0.1, depth), (FLOOR, seat)), seat - thick))
    if p["arms"] == "yes":
        out.append(_armrests(half, (-depth, depth), seat))
    return union(*out)


def bed(p: Params) -> Field:
    """A mattress along y with the head at the back."""
    half = {"single": 0.46, "double": 0.8}[p["width"]]
    length, frame = 0.88, -0.42
    out = [box((-half, half), (-length, length), (frame - 0.14, frame))]
    out.append(accent(box((-half + 0.05, half - 0.05), (-length + 0.12, length - 0.12), (frame, frame + 0.22))))
    if p["base"] == "legs":
        out.append(corners(half - 0.09, length - 0.09, (-0.85, frame), 0.09))
    else:
        out.append(box((-half, half), (-length, length), (-0.85, frame)))
    if p["headboard"] != "none":
        top = {"low": 0.1, "tall": 0.55}[p["headboard"]]
        out.append(box((-half, half), (length - 0.15, length), (frame, top)))
    if p["footboard"] == "yes":
        out.append(box((-half, half), (-length, -length + 0.15), (frame, 0.0)))
    if p["posts"] == "yes":
        out.append(corners(half - 0.07, length - 0.07, (frame, 0.85), 0.07))
    centres, reach = ([0.0], 0.7 * half) if p["pillows"] == "one" else ([-half / 2, half / 2], 0.4 * half)
    out += [accent(ellipsoid((c, 0.55, frame + 0.24), (reach, 0.2, 0.16))) for c in centres]
    return union(*out)


def shelf(p: Params) -> Field:
    """A bookshelf: two sides, top, bottom and inner boards."""
    half = {"narrow": 0.42, "medium": 0.62, "wide": 0.88}[p["width"]]
    top = {"low": 0.1, "medium": 0.5, "tall": 0.9}[p["height"]]
    depth = {"shallow": 0.25, "deep": 0.45}[p["depth"]]
    boards = {"one": 1, "two": 2, "three": 3}[p["boards"]]
    bottom = FLOOR + (0.2 if p["base"] == "legs" else 0.0)
    out = [sides(half - 0.07, (-depth, depth), (bottom, top), 0.07)]
    for i in range(boards + 2):
        level = bottom + (top - 0.13 - bottom) * i / (boards + 1)
        out.append(accent(box((-half, half), (-depth, depth), (level, level + 0.13))))
    if p["back"] == "panel":
        out.append(box((-half, half), (depth - 0.13, depth), (bottom, top)))
    if p["base"] == "legs":
        out.append(corners(half - 0.08, depth - 0.08, (FLOOR, bottom), 0.08))
    return union(*out)


def lamp(p: Params) -> Field:
    """A base, a pole and a shade."""
    joint = {"short": -0.2, "medium": 0.1, "tall": 0.4}[p["height"]]
    pole = {"thin": 0.08, "thick": 0.15}[p["pole"]]
    wide = p["size"] == "wide"
    out = [pillar((FLOOR + 0.1, joint + 0.2), pole)]
    if p["base"] == "round":
        out.append(pillar((FLOOR, FLOOR + 0.16), 0.48))
    elif p["base"] == "square":
        out.append(box((-0.45, 0.45), (-0.45, 0.45), (FLOOR, FLOOR + 0.16)))
    else:
        angles = [math.radians(90 + 120 * i) for i in range(3)]
        out += [rod((0, 0, -0.4), (0.55 * math.cos(a), 0.55 * math.sin(a), FLOOR + 0.07), 0.085) for a in angles]
    if p["shade"] == "cone":
        light = pillar((joint, joint + 0.5), 0.75 if wide else 0.45, 0.3 if wide else 0.2)
    elif p["shade"] == "drum":
        light = pillar((joint, joint + 0.45), 0.62 if wide else 0.36)
    else:
        radius = 0.45 if wide else 0.3
        light = ellipsoid((0, 0, joint + 0.05 + radius), (radius * 1.2, radius * 1.2, radius))
    return union(empty(), *out, accent(light))


CATEGORIES = (
    Category(
        "chair",
        ("chair", "seat"),
        (
            adj("width", narrow="narrow", medium="medium-width|regular", wide="wide|broad"),
            part("seat", low="a low seat", high="a high seat"),
            part(
                "back",
                none="no backrest",
                low="a low backrest|a short backrest",
                high="a tall backrest|a high backrest",
            ),
            part(
                "legs",
                thin="four thin legs|slender legs",
                thick="four thick legs|chunky legs",
                pedestal="a round pedestal",
            ),
            part("arms", yes="armrests|two armrests", no="no armrests"),
            FACING,
        ),
        chair,
    ),
    Category(
        "table",
        ("table", "desk"),
        (
            adj("size", small="small", large="large|big"),
            adj("height", low="low", medium="medium-height", tall="tall|high"),
            adj("shape", round="round|circular", square="square", rectangular="rectangular|oblong"),
            part("top", thin="a thin top", thick="a thick top"),
            part(
                "legs",
                thin="four thin legs|slender legs",
                thick="four thick legs|chunky legs",
                pedestal="a central pedestal",
                panels="two side panels",
            ),
            part("shelf", yes="a lower shelf", no="no shelf"),
        ),
        table,
    ),
    Category(
        "bench",
        ("bench", "park bench"),
        (
            adj("length", short="short", long="long"),
            part("seat", thin="a thin seat", thick="a thick seat"),
            part("back", none="no backrest", low="a low backrest", high="a tall backrest|a high backrest"),
            part("legs", four="four legs", panels="two panel legs", solid="a solid base"),
            part("arms", yes="armrests|two armrests", no="no armrests"),
            FACING,
        ),
        bench,
    ),
    Category(
        "bed",
        ("bed",),
        (
            adj("width", single="single|narrow", double="double|wide"),
            part("headboard", none="no headboard", low="a low headboard", tall="a tall headboard|a high headboard"),
            part("footboard", yes="a footboard", no="no footboard"),
            part("base", legs="four legs", solid="a solid base"),
            part("posts", yes="four bedposts|tall corner posts", no="no bedposts"),
            part("pillows", one="one pillow|a single pillow", two="two pillows"),
            FACING,
        ),
        bed,
    ),
    Category(
        "shelf",
        ("bookshelf", "bookcase", "shelf"),
        (
            adj("height", low="low|short", medium="medium-height", tall="tall|high"),
            adj("width", narrow="narrow", medium="medium-width", wide="wide|broad"),
            adj("depth", shallow="shallow", deep="deep"),
            part(
                "boards",
                one="one inner shelf|a single inner shelf",
                two="two inner shelves",
                three="three inner shelves",
            ),
            part("back", panel="a back panel|a closed back", open="an open back|no back panel"),
            part("base", legs="short legs", flat="no legs"),
        ),
        shelf,
    ),
    Category(
        "lamp",
        ("lamp", "floor lamp"),
        (
            adj("height", short="short|low", medium="medium-height", tall="tall|high"),
            part("base", round="a round base", square="a square base", tripod="a tripod base|three legs"),
            part("pole", thin="a thin pole", thick="a thick pole"),
            part("size", small="a small light", wide="a wide light"),
            part(
                "shade",
                cone="a cone shade|a conical shade",
                drum="a drum shade|a cylindrical shade",
                globe="a globe shade|a round shade",
            ),
        ),
        lamp,
    ),
)
