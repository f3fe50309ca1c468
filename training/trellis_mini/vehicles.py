"""Vehicles: rocket, car, boat and airplane."""

from __future__ import annotations

import numpy as np

from training.trellis_mini import sdf
from training.trellis_mini.category import FACING, Category, Params, adj, part
from training.trellis_mini.sdf import (
    Field,
    accent,
    box,
    cut,
    ellipsoid,
    intersect,
    pillar,
    rod,
    sides,
    tube,
    union,
    wheel,
    within,
)


def rocket(p: Params) -> Field:
    """A standing body with a nose, fins and side boosters."""
    radius = {"slim": 0.2, "medium": 0.3, "fat": 0.42}[p["body"]]
    top = -0.8 + {"short": 0.7, "medium": 0.95, "tall": 1.2}[p["height"]]
    out = [pillar((-0.8, top), radius), pillar((-0.95, -0.75), 0.75 * radius, 0.5 * radius)]
    if p["nose"] == "pointed":
        out.append(pillar((top, top + 0.5), radius, 0.02))
    elif p["nose"] == "rounded":
        out.append(intersect(ellipsoid((0, 0, top), (radius, radius, 0.38)), top - 0.1 - sdf.Z))
    else:
        out.append(pillar((top, top + 0.18), radius, 0.65 * radius))
    reach, high = {"small": (0.24, 0.35), "large": (0.48, 0.65)}[p["size"]]
    slope = radius + reach - np.clip((sdf.Z + 0.9) / high, 0, 1) * reach
    low = within(sdf.Z, (-0.92, -0.9 + high))
    out.append(accent(intersect(np.abs(sdf.Y) - 0.08, np.abs(sdf.X) - slope, low)))
    if p["fins"] == "four":
        out.append(accent(intersect(np.abs(sdf.X) - 0.08, np.abs(sdf.Y) - slope, low)))
    if p["boosters"] == "yes":
        offset = (radius + 0.12) * 0.7071
        for sign in (-1, 1):
            centre = (sign * offset, sign * offset)
            out.append(pillar((-0.88, -0.25), 0.15, centre=centre))
            out.append(pillar((-0.25, -0.05), 0.15, 0.05, centre=centre))
    return union(*out)


def car(p: Params) -> Field:
    """A body on four wheels that drives towards -y."""
    length = {"short": 0.66, "long": 0.93}[p["length"]]
    radius = {"small": 0.18, "large": 0.27}[p["wheels"]]
    roof = {"low": 0.26, "tall": 0.46}[p["roof"]]
    half, floor = 0.42, -0.6
    deck = floor + radius + 0.36
    out = [box((-half, half), (-length, length), (floor + radius, deck))]
    cabin = {
        "sedan": (-0.42 * length, 0.55 * length),
        "pickup": (-0.55 * length, 0.05 * length),
        "van": (-0.62 * length, length),
    }[p["type"]]
    lean = 0.35 * np.clip(sdf.Z - deck, 0, 1)
    out.append(
        intersect(
            np.abs(sdf.X) - half + 0.05,
            within(sdf.Z, (deck - 0.05, deck + roof)),
            cabin[0] + lean - sdf.Y,
            sdf.Y - cabin[1],
        )
    )
    body = union(*out)
    if p["type"] == "pickup":
        body = cut(body, box((-half + 0.13, half - 0.13), (0.15 * length, length - 0.13), (deck - 0.2, deck + 0.1)))
    places = [(x, y) for x in (-half, half) for y in (-0.6 * length, 0.6 * length)]
    wheels = [accent(wheel((x, y, floor + radius), radius, 0.12)) for x, y in places]
    if p["extra"] == "spoiler":
        wheels.append(box((-half, half), (length - 0.22, length), (deck + roof, deck + roof + 0.13)))
        wheels.append(sides(half - 0.1, (length - 0.2, length - 0.05), (deck - 0.1, deck + roof + 0.05), 0.07))
    elif p["extra"] == "rack":
        middle = (cabin[0] + cabin[1]) / 2
        wheels.append(box((-0.3, 0.3), (middle - 0.22, middle + 0.3), (deck + roof - 0.05, deck + roof + 0.16)))
    return union(body, *wheels)


def boat(p: Params) -> Field:
    """A hull with its bow at -y and something on deck."""
    length = {"short": 0.62, "long": 0.93}[p["length"]]
    half = {"narrow": 0.28, "medium": 0.4, "wide": 0.55}[p["width"]]
    depth = {"shallow": 0.32, "deep": 0.55}[p["hull"]]
    deck = -0.25

    def hull(margin: float, bottom: float) -> Field:
        bow = 1 - np.clip(-(sdf.Y + 0.05) / (length - margin), 0, 1) ** 2
        keel = np.sqrt(np.clip((sdf.Z - bottom) / (deck - bottom), 0, 1))
        width = (half - margin) * bow * (0.45 + 0.55 * keel)
        return intersect(
            np.abs(sdf.X) - width,
            within(sdf.Y, (-length + margin, length - margin)),
            within(sdf.Z, (bottom, deck + margin)),
        )

    out = hull(0.0, deck - depth)
    if p["deck"] == "open":
        out = cut(out, hull(0.13, deck - depth + 0.14))
        return union(out, accent(box((-half + 0.1, half - 0.1), (0.1, 0.28), (deck - 0.15, deck))))
    if p["deck"] == "sail":
        mast = rod((0, -0.1, deck), (0, -0.1, 0.9), 0.08)
        reach = 0.9 * length * (1 - np.clip((sdf.Z + 0.05) / 0.95, 0, 1))
        sail = intersect(np.abs(sdf.X) - 0.08, within(sdf.Z, (-0.08, 0.88)), -0.1 - sdf.Y, sdf.Y + 0.1 - reach)
        return union(out, mast, accent(sail))
    cabin = accent(box((-0.7 * half, 0.7 * half), (-0.2, 0.65 * length), (deck, deck + 0.35)))
    if p["deck"] == "cabin":
        return union(out, cabin)
    return union(out, cabin, pillar((deck, 0.75), 0.15, centre=(0.0, 0.15)))


def airplane(p: Params) -> Field:
    """A fuselage along y with its nose at -y, wings, tail and engines."""
    radius = {"slim": 0.14, "fat": 0.24}[p["body"]]
    span = {"short": 0.6, "wide": 0.94}[p["span"]]
    side = np.abs(sdf.X)
    body = tube(0.0, (-0.6, 0.6), 0.0, radius)
    nose = intersect(ellipsoid((0, -0.6, 0), (radius, 0.33, radius)), sdf.Y + 0.5)
    tail = intersect(ellipsoid((0, 0.55, 0), (radius, 0.4, radius)), 0.5 - sdf.Y)
    if p["wings"] == "straight":
        front, back = -0.28 + 0.0 * side, 0.1 + 0.0 * side
    elif p["wings"] == "swept":
        front, back = -0.4 + 0.6 * side, -0.02 + 0.6 * side
    else:
        front, back = -0.45 + 0.85 * side / span, 0.55 + 0.0 * side
    wing = intersect(side - span, np.abs(sdf.Z) - 0.07, front - sdf.Y, sdf.Y - back)
    rise = 0.6
    fin = intersect(side - 0.07, within(sdf.Z, (0.0, rise)), 0.5 + 0.35 * sdf.Z - sdf.Y, sdf.Y - 0.93)
    level = rise - 0.07 if p["tail"] == "high" else 0.0
    stabiliser = intersect(side - 0.4, np.abs(sdf.Z - level) - 0.07, within(sdf.Y, (0.66, 0.93)))
    out = [body, nose, tail, accent(wing), fin, accent(stabiliser)]
    places = {"none": (), "two": (0.5,), "four": (0.4, 0.8)}[p["engines"]]
    for place in places:
        x = place * span
        shift = 0.6 * x if p["wings"] == "swept" else (0.35 * place if p["wings"] == "delta" else 0.0)
        for sign in (-1, 1):
            out.append(tube(sign * x, (-0.48 + shift, 0.0 + shift), -0.12, 0.12))
    return union(*out)


CATEGORIES = (
    Category(
        "rocket",
        ("rocket", "spaceship"),
        (
            adj("height", short="short", medium="medium-height", tall="tall|high"),
            adj("body", slim="slim|thin", medium="medium-width", fat="fat|wide"),
            part(
                "nose",
                pointed="a pointed nose|a sharp nose",
                rounded="a rounded nose",
                blunt="a blunt nose|a flat nose",
            ),
            part("fins", two="two fins", four="four fins"),
            part("size", small="small tail wings", large="large tail wings"),
            part("boosters", yes="side boosters|two boosters", no="no boosters"),
        ),
        rocket,
    ),
    Category(
        "car",
        ("car",),
        (
            adj("length", short="short", long="long"),
            adj("type", sedan="sedan", pickup="pickup", van="van"),
            part("roof", low="a low roof", tall="a tall roof|a high roof"),
            part("wheels", small="small wheels", large="large wheels|big wheels"),
            part("extra", spoiler="a rear spoiler", rack="roof luggage|luggage on the roof", none="no extras"),
            FACING,
        ),
        car,
    ),
    Category(
        "boat",
        ("boat", "ship"),
        (
            adj("length", short="short", long="long"),
            adj("width", narrow="narrow", medium="medium-width", wide="wide|broad"),
            part("hull", shallow="a shallow hull", deep="a deep hull"),
            part(
                "deck",
                open="an open deck",
                sail="a sail|a mast and a sail",
                cabin="a cabin",
                funnel="a cabin and a funnel",
            ),
            FACING,
        ),
        boat,
    ),
    Category(
        "airplane",
        ("airplane", "plane"),
        (
            adj("body", slim="slim|thin", fat="fat|thick"),
            part("span", short="a short span", wide="a wide span"),
            part("wings", straight="straight wings", swept="swept wings", delta="delta wings|triangular wings"),
            part("tail", low="a low tail", high="a T-tail|a high tail"),
            part("engines", none="no engines", two="two engines", four="four engines"),
            FACING,
        ),
        airplane,
    ),
)
