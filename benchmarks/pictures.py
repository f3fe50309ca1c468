"""The same held-out prompts through several bundles, side by side, as one picture.

    python benchmarks/pictures.py BUNDLE... [--count 10] [-o docs/heldout.png]

One row a prompt, spread over the categories; for every bundle its mesh and, where it makes them, its Gaussians. Seeds
are those of `heldout.json` beside the recipe's weights. Also prints how alike the first bundle's pictures and each
other's are, and the share of every component in the time of one asset.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from gen3dexport.assets.draw.gaussian_render import render_gaussians
from gen3dexport.assets.draw.render import render
from gen3dexport.assets.metrics import picture_quality
from gen3dexport.documents.shipped import shipped
from gen3dexport.models import Request
from gen3dexport.runtime import load
from gen3dexport.runtime.pipeline import to_numpy
from gen3dexport.validation.timing import StageTimes

SIZE, LABEL = 200, 34


def heldout(weights: str, count: int) -> list[tuple[str, int]]:
    """(caption, seed) of held-out items, the first of as many categories as there are."""
    items = json.loads((shipped("weights") / weights / "heldout.json").read_text())["items"]
    first = {item["category"]: item for item in reversed(items)}
    chosen = [*first.values(), *(item for item in items if item not in first.values())][:count]
    return [(item["caption"], item["seed"]) for item in chosen]


def through(bundle: Path, prompts: list[tuple[str, int]]) -> tuple[list[list[np.ndarray]], dict[str, float]]:
    """Pictures of every prompt's assets, and seconds per component over all prompts."""
    loaded, pictures = load(bundle), []
    loaded.load_programs()
    stages, assets = StageTimes(loaded.manifest.components), 0.0
    for prompt, seed in prompts:
        stages.begin()
        state = to_numpy(loaded.run(Request(prompt, seed), stages))
        start = time.perf_counter()
        made = loaded.family.make_assets(state, loaded.settings)
        assets += time.perf_counter() - start
        shown = [render(made["mesh"], size=SIZE)] if "mesh" in made else []
        shown += [render_gaussians(made["gaussians"], size=SIZE)] if "gaussians" in made else []
        pictures.append(shown)
    return pictures, stages.seconds | {"assets": assets}


def sheet(names: list[str], prompts: list[tuple[str, int]], pictures: list[list[list[np.ndarray]]]) -> Image.Image:
    """Rows of prompts, columns of bundles."""
    columns = sum(len(rows[0]) for rows in pictures)
    image = Image.new("RGB", (columns * SIZE, 20 + len(prompts) * (SIZE + LABEL)), "white")
    draw = ImageDraw.Draw(image)
    x = 0
    for name, rows in zip(names, pictures, strict=True):
        draw.text((x + 6, 4), name, fill="black")
        for k, shown in enumerate(rows):
            for column, picture in enumerate(shown):
                image.paste(Image.fromarray(picture), (x + column * SIZE, 20 + k * (SIZE + LABEL) + LABEL))
        x += len(rows[0]) * SIZE
    for k, (prompt, _) in enumerate(prompts):
        draw.text((6, 20 + k * (SIZE + LABEL) + 12), prompt, fill="black")
    return image


def main() -> None:
    """Make the picture, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/heldout.png"))
    arguments = parser.parse_args()
    manifests = [load(b).manifest for b in arguments.bundles]
    prompts = heldout(manifests[0].recipe["weights"], arguments.count)
    names = [f"{m.target['name']}" for m in manifests]
    found = [through(b, prompts) for b in arguments.bundles]
    sheet(names, prompts, [pictures for pictures, _ in found]).save(arguments.out, optimize=True)
    alike = Table("bundle", "against", "picture", "PSNR dB", "SSIM")
    for name, (pictures, _) in list(zip(names, found, strict=True))[1:]:
        for column in range(len(pictures[0])):
            quality = picture_quality([p[column] for p in pictures], [p[column] for p in found[0][0]])
            kind = ("mesh", "gaussians")[column]
            alike.add_row(name, names[0], kind, f"{float(quality['psnr_db']):.1f}", f"{quality['ssim']:.4f}")
    share = Table("component", *(f"{n}: s, share" for n in names))
    for component in found[0][1]:
        cells = [f"{s[component] / len(prompts):.3f}, {s[component] / sum(s.values()):.0%}" for _, s in found]
        share.add_row(component, *cells)
    Console(width=140).print(alike, share)


if __name__ == "__main__":
    main()
