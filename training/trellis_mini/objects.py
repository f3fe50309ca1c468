"""Other things: mug, bottle, house, tree, stairs and mushroom."""

from __future__ import annotations

import numpy as np

from training.trellis_mini import sdf
from training.trellis_mini.category import FACING, Attribute, Category, Params, adj, part
from training.trellis_mini.sdf import (
    Field,
    accent,
    box,
    cut,
    ellipsoid,
    intersect,
    pillar,
    prism,
    ring,
    sides,
    union,
    within,
)

FLOOR = -0.9


def mug(p: Params) -> Field:
    """A hollow cup whose handle points to -y before it is turned."""
    radius = {"narrow": 0.36, "wide": 0.54}[p["width"]]
    bottom = -0.76
    top = bottom + {"short": 0.75, "medium": 1.15, "tall": 1.6}[p["height"]]
    along = np.clip((sdf.Z - bottom) / (top - bottom), 0, 1)
    if p["shape"] == "straight":
        profile = radius + 0.0 * along
    elif p["shape"] == "flared":
        profile = radius * (0.6 + 0.4 * along)
    else:
        profile = radius * (1.0 - 0.9 * (along - 0.5) ** 2)
    around = np.hypot(sdf.X, sdf.Y)
    cup = np.maximum(around - profile, within(sdf.Z, (bottom, top)))
    cavity = np.maximum(around - profile + 0.14, bottom + 0.16 - sdf.Z)
    size = {"small": 0.24, "large": 0.34}[p["handle"]]
    wall = radius * {"straight": 1.0, "flared": 0.82, "rounded": 0.97}[p["shape"]]
    handle = accent(ring((0.0, -wall, (bottom + top) / 2), size, 0.09))
    out = cut(union(cup, handle), cavity)
    if p["saucer"] == "yes":
        out = union(out, pillar((FLOOR, FLOOR + 0.16), 0.6, 0.85))
    return out


def bottle(p: Params) -> Field:
    """A body, a shoulder, a neck and a cap."""
    radius = {"slim": 0.26, "medium": 0.4, "fat": 0.58}[p["body"]]
    height = {"short": 1.15, "medium": 1.45, "tall": 1.75}[p["height"]]
    neck = {"short": 0.2, "long": 0.5}[p["neck"]]
    slope = {"square": 0.06, "sloped": 0.3}[p["shoulders"]]
    top = FLOOR + height
    shoulder = top - neck
    solid = prism if p["section"] == "square" else pillar
    out = [solid((FLOOR, shoulder - slope), radius), solid((shoulder - slope, shoulder), radius, 0.15)]
    out.append(accent(pillar((shoulder - 0.1, top), 0.13)))
    if p["cap"] == "yes":
        out.append(accent(pillar((top - 0.1, top + 0.1), 0.22)))
    return union(*out)


def house(p: Params) -> Field:
    """Walls, a roof, a door at the front, a chimney and a porch."""
    x, y = {"square": (0.55, 0.55), "wide": (0.85, 0.48), "deep": (0.42, 0.66)}[p["plan"]]
    eaves = {"one": -0.3, "two": 0.15}[p["storeys"]]
    walls = cut(box((-x, x), (-y, y), (FLOOR, eaves)), box((-0.14, 0.14), (-1, -y + 0.15), (FLOOR, FLOOR + 0.42)))
    out = [walls]
    edge = 0.1
    if p["roof"] == "gable":
        along = (sdf.Z - eaves) / 0.6
        roof = intersect(np.abs(sdf.Y) - (y + edge) * (1 - along), np.abs(sdf.X) - x - edge, eaves - 0.03 - sdf.Z)
    elif p["roof"] == "hip":
        along = (sdf.Z - eaves) / 0.6
        taper = 1 - along
        roof = intersect(np.abs(sdf.Y) - (y + edge) * taper, np.abs(sdf.X) - (x + edge) * taper, eaves - 0.03 - sdf.Z)
    else:
        roof = box((-x - edge, x + edge), (-y - edge, y + edge), (eaves - 0.03, eaves + 0.13))
    out.append(accent(roof))
    if p["chimney"] != "none":
        centre = 0.6 * x * (1 if p["chimney"] == "right" else -1)
        out.append(box((centre - 0.12, centre + 0.12), (0.05, 0.3), (eaves - 0.1, eaves + 0.75)))
    if p["porch"] == "yes":
        out.append(box((-x, x), (-y - 0.32, -y), (-0.52, -0.38)))
        out.append(sides(x - 0.07, (-y - 0.32, -y - 0.18), (FLOOR, -0.45), 0.07))
    return union(*out)


def tree(p: Params) -> Field:
    """A trunk and a crown, free or in a pot."""
    base = {"short": -0.5, "medium": -0.25, "tall": 0.0}[p["trunk"]]
    trunk = {"thin": 0.09, "thick": 0.19}[p["girth"]]
    radius = {"small": 0.45, "medium": 0.65, "wide": 0.88}[p["size"]]
    out = [accent(pillar((FLOOR, base + 0.2), trunk))]
    if p["crown"] == "round":
        out.append(ellipsoid((0, 0, base + 0.45), (radius, radius, 0.48)))
    elif p["crown"] == "cone":
        out.append(pillar((base, base + 0.95), radius, 0.03))
    elif p["crown"] == "tiered":
        for i, share in enumerate((1.0, 0.78, 0.55)):
            out.append(pillar((base + 0.3 * i, base + 0.3 * i + 0.36), radius * share, radius * share * 0.3))
    else:
        out.append(intersect(ellipsoid((0, 0, base + 0.3), (radius, radius, 0.38)), base + 0.3 - sdf.Z))
        out.append(accent(pillar((FLOOR, base + 0.35), trunk)))
    if p["pot"] == "yes":
        out.append(accent(pillar((FLOOR, FLOOR + 0.32), 0.28, 0.4)))
    return union(*out)


def stairs(p: Params) -> Field:
    """Steps that rise from -y to +y, with railings."""
    count = {"three": 3, "four": 4, "five": 5, "six": 6}[p["steps"]]
    half = {"narrow": 0.35, "medium": 0.58, "wide": 0.85}[p["width"]]
    rise = {"low": 0.9, "steep": 1.45}[p["slope"]]
    out = []
    for i in range(count):
        start, stop = -0.9 + 1.8 * i / count, -0.9 + 1.8 * (i + 1) / count
        top = FLOOR + rise * (i + 1) / count
        below = FLOOR if p["type"] == "solid" else max(FLOOR, top - rise / count - 0.1)
        out.append(box((-half, half), (start, stop), (below, top)))
    line = FLOOR + rise * (sdf.Y + 0.9) / 1.8 + 0.5 * rise / count
    for side in {"none": (), "left": (-1,), "right": (1,), "both": (-1, 1)}[p["rail"]]:
        place = np.abs(sdf.X - side * (half - 0.07)) - 0.07
        out.append(accent(intersect(place, within(sdf.Z - line, (0.2, 0.36)), np.abs(sdf.Y) - 0.9)))
        posts = union(within(sdf.Y, (-0.9, -0.76)), within(sdf.Y, (-0.07, 0.07)), within(sdf.Y, (0.76, 0.9)))
        out.append(accent(intersect(place, posts, sdf.Z - line - 0.3, line - 0.3 - sdf.Z)))
    return union(*out)


def mushroom(p: Params) -> Field:
    """A stem with a cap and perhaps a ring."""
    top = {"short": -0.4, "medium": -0.1, "tall": 0.2}[p["height"]]
    stem = {"thin": 0.13, "thick": 0.27}[p["stem"]]
    radius = {"small": 0.45, "medium": 0.65, "wide": 0.9}[p["size"]]
    out = [accent(pillar((FLOOR, top + 0.1), stem * 1.2, stem))]
    if p["cap"] == "pointed":
        out.append(pillar((top, top + 0.7), radius, 0.03))
    else:
        out.append(
            intersect(ellipsoid((0, 0, top), (radius, radius, 0.22 if p["cap"] == "flat" else 0.55)), top - sdf.Z)
        )
    if p["ring"] == "yes":
        middle = FLOOR + 0.55 * (top - FLOOR)
        out.append(accent(pillar((middle - 0.07, middle + 0.07), stem + 0.15)))
    return union(*out)


HANDLE_SIDE = Attribute(
    "facing",
    "pose",
    {
        "front": ("handle at the front", "handle towards the front"),
        "right": ("handle on the right", "handle to the right"),
        "back": ("handle at the back", "handle towards the back"),
        "left": ("handle on the left", "handle to the left"),
    },
)

CATEGORIES = (
    Category(
        "mug",
        ("mug", "cup"),
        (
            adj("height", short="short|low", medium="medium-height", tall="tall|high"),
            adj("width", narrow="narrow|slim", wide="wide|broad"),
            adj("shape", straight="straight|cylindrical", flared="flared|tapered", rounded="rounded|bulging"),
            part("handle", small="a small handle", large="a large handle|a big handle"),
            part("saucer", yes="a saucer", no="no saucer"),
            HANDLE_SIDE,
        ),
        mug,
    ),
    Category(
        "bottle",
        ("bottle", "flask"),
        (
            adj("height", short="short|low", medium="medium-height", tall="tall|high"),
            adj("body", slim="slim|thin", medium="medium-width", fat="fat|wide"),
            part("section", round="a round body", square="a square body|a boxy body"),
            part("neck", short="a short neck", long="a long neck"),
            part("shoulders", square="flat shoulders", sloped="sloped shoulders"),
            part("cap", yes="a cap|a stopper", no="no cap"),
        ),
        bottle,
    ),
    Category(
        "house",
        ("house", "building"),
        (
            adj("storeys", one="one-story|single-floor", two="two-story|two-floor"),
            adj("plan", square="square", wide="wide|broad", deep="deep|narrow"),
            part("roof", gable="a gable roof", hip="a pyramid roof", flat="a flat roof"),
            part("chimney", none="no chimney", left="a chimney on the left", right="a chimney on the right"),
            part("porch", yes="a porch", no="no porch"),
            FACING,
        ),
        house,
    ),
    Category(
        "tree",
        ("tree",),
        (
            part("trunk", short="a short trunk", medium="a medium-height trunk", tall="a tall trunk|a high trunk"),
            part("girth", thin="a thin stem", thick="a thick stem"),
            part(
                "crown",
                round="a round crown",
                cone="a cone crown|a conical crown",
                tiered="a tiered crown|a layered crown",
                dome="an umbrella crown|a dome crown",
            ),
            part("size", small="small leaves", medium="medium-width leaves", wide="wide leaves|broad leaves"),
            part("pot", yes="a pot", no="no pot"),
        ),
        tree,
    ),
    Category(
        "stairs",
        ("stairs", "staircase"),
        (
            adj("width", narrow="narrow", medium="medium-width", wide="wide|broad"),
            adj("slope", low="low|gentle", steep="steep|tall"),
            adj("type", solid="solid", open="open|hollow"),
            part("steps", three="three steps", four="four steps", five="five steps", six="six steps"),
            part(
                "rail",
                none="no railing",
                left="a railing on the left",
                right="a railing on the right",
                both="railings on both sides",
            ),
            FACING,
        ),
        stairs,
    ),
    Category(
        "mushroom",
        ("mushroom", "toadstool"),
        (
            adj("height", short="short|low", medium="medium-height", tall="tall|high"),
            part("stem", thin="a thin stem", thick="a thick stem"),
            part("cap", flat="a flat cap", domed="a domed cap|a round cap", pointed="a pointed cap|a conical cap"),
            part("size", small="a small top", medium="a medium-width top", wide="a wide top|a broad top"),
            part("ring", yes="a ring around the stem", no="no ring"),
        ),
        mushroom,
    ),
)
