"""docs/benchmarks.md and README's tables, from the JSON in benchmarks/results.

    python benchmarks/tables.py            # write both
    python benchmarks/tables.py --check    # write nothing; exit 1 when a page differs from the JSON
    python benchmarks/tables.py --age      # for every result, how many commits have changed src since

A result file finds its section by its name (`SECTIONS`). In README a table stands between `<!-- table NAME -->` and
`<!-- end -->`. Nothing is measured here.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import asset_renderers
import damage_renderers
import embed_renderers
import matrix_page
import readme_tables
import released_renderers
import reliability_renderers
import renderers
import result_file
from markdown_table import table

ROOT = Path(__file__).parents[1]
RESULTS, PAGE, README = ROOT / "benchmarks" / "results", ROOT / "docs" / "benchmarks.md", ROOT / "README.md"
SHOWN = ("torch", "torchao", "executorch", "jax", "libtpu", "triton", "onnxruntime", "numpy")
HEAD = """# Benchmarks

`python benchmarks/tables.py` makes this page from the JSON in `benchmarks/results`; a test fails when they differ. What
a script measured is as old as its date and commit say: `python benchmarks/tables.py --age` counts the commits since.
Files from before this page took date and commit from the commit that brought their figures. Times are medians unless a
column says otherwise. *Estimated* figures name their model; nothing else is estimated.

{results}
"""


@dataclass(frozen=True)
class Section:
    """Results whose names match `pattern`: the section's title, what the figures are of, and the renderer."""

    pattern: str
    title: str
    text: str
    render: Callable[[Mapping[str, Any]], str]


SECTIONS = (
    Section(
        "heldout",
        "Held-out captions",
        "trellis-mini on captions whose combinations of attributes training never saw"
        " (`weights/trellis-mini/heldout.json`), in eager float32 and through bundles, the same seeds for each. tpu is"
        " its program on JAX's CPU.",
        renderers.heldout,
    ),
    Section(
        "tradeoff*",
        "The trade-off of quantization",
        "What a user of torch would try first, against bundles. Every variant lives in a process of its own, and they"
        " take turns. Memory is above what the process held before loading.",
        renderers.tradeoff,
    ),
    Section(
        "dit_blocks",
        "Two blocks of TRELLIS's flow at full width",
        "1024 wide, 1024 tokens, random weights, on every machine where it was run. The first machine's result did not"
        " name its instruction sets.",
        renderers.machines,
    ),
    Section("mini_components", "trellis-mini's components", "Milliseconds of one call, in turns.", renderers.turns),
    Section("onnx_schemes", "Schemes on ONNX Runtime", "Least CPU time of a call, one thread.", renderers.onnx_schemes),
    Section(
        "tpu_int8",
        "int8 on a TPU",
        "Estimated, no device: two blocks of TRELLIS's flow at full width, as XLA compiles them and with this package's"
        " Pallas kernels. The roofline is this package's; the cost analysis and the schedule are libtpu's.",
        renderers.tpu_int8,
    ),
    Section(
        "parity",
        "Agreement with the reference implementation",
        "Golden sets of the families' reference implementations: the largest error of any output relative to the"
        " output's largest value. Sets of the host's work run in eager alone; tpu-v5e is its program on JAX's CPU.",
        renderers.parity,
    ),
    Section(
        "real_weights",
        "Published networks against their authors' own files",
        "The authors' ONNX file under onnxruntime is the reference and what times are relative to. Differences are the"
        " largest over eight photographs (dinov2-s-focus) or three difficulties and two seeds (terrain-consistency):"
        " of a map's largest value, and Pearson's correlation with the reference's map. Memory is above what the"
        " process held before loading. × CPU compares seconds of CPU in a call instead of times; other work ran beside."
        " tpu-v5e is its program on JAX's CPU, for its numbers alone; cuda-sm90 is compiled here, and nothing ran it.",
        renderers.real_weights,
    ),
    Section(
        "depth",
        "Networks of depth at their released sizes",
        "Random weights, one picture of 518 x 518 (Depth Anything 3: 504 x 504). Times are of one call, in turns, and"
        " memory is above what the process held before loading; building memory is all that the building process held."
        " tpu-v5e and cuda-sm90 are compiled here, and nothing ran them.",
        renderers.depth,
    ),
    Section(
        "focus_int8",
        "What int8 costs on real photographs, and what helps",
        "dinov2-s-focus, int8-dynamic's arithmetic in eager mode over eight photographs; loss is 1 - correlation with"
        " the float32 map. Rescaling divides the channels of what norms give, and multiplies the next weights.",
        renderers.focus_int8,
    ),
    Section(
        "middlebury",
        "Accuracy on the Middlebury stereo pair",
        "The pair of scikit-image, 741 x 500, whose true disparity is known at 92.7 % of the pixels. Recipe xfeat: 512"
        " keypoints of either picture at 704 x 480, matched in three ways; errors in pixels of the whole picture, at"
        " matches whose truth is known. Depth of a match is that of its disparity, without any alignment. Differences"
        " of programs are relative to an output's largest value, on the pipeline's own inputs.",
        renderers.middlebury,
    ),
    Section(
        "budget_invariance",
        "Padding changes nothing",
        "Networks of the structured latent, built for two voxel budgets and run on the same voxels.",
        renderers.budget_invariance,
    ),
    Section(
        "executorch_depth",
        "Build time by depth, ExecuTorch",
        "TRELLIS's released structure flow (1024 wide, 4096 tokens, random weights) with fewer and more blocks.",
        released_renderers.executorch_depth,
    ),
    Section(
        "cuda_released",
        "Released structure flow for CUDA, built without a GPU",
        "Random weights; every build in a fresh process.",
        released_renderers.cuda_released,
    ),
    Section(
        "gpu_run_*", "CUDA packages on a GPU", "Released structure flow, random weights.", released_renderers.gpu_run
    ),
    Section(
        "tpu_released_*",
        "Released structure networks for TPU, built without a TPU",
        "Random weights. Latency and memory are estimates of the model named in brackets.",
        released_renderers.tpu_released,
    ),
    Section(
        "*_released",
        "All components of a released recipe",
        "Random weights; every component built in a process of its own. What a program needs on its device and how long"
        " a call takes are estimates: of the program with kernels on TPUs; on ExecuTorch, bytes that the program plans"
        " and the tensors inside its largest delegate. Load: the machine's load average of the minute before a"
        " component's build began, which the rows made just before it are part of.",
        released_renderers.released,
    ),
    Section(
        "field_knobs",
        "Drawing radiance fields on the host",
        "A field of the released size; PSNR and SSIM against sixteen samples a voxel.",
        renderers.field_knobs,
    ),
    Section(
        "surface_queries",
        "Surfaces from coarse to fine",
        "The whole grid of 256 points an edge (coarse 1), and the search that starts from every 4th or 8th point. The"
        " network is TripoSG's query at a width of 64, fitted to the ring, in eager mode on one thread. Off: the"
        " largest distance between the two meshes' vertices, either way, in grid steps.",
        renderers.surface_queries,
    ),
    Section(
        "nerf",
        "Pictures of a radiance field",
        "nerf-mini on held-out cameras, in eager mode on one thread; PSNR against traced pictures of the same size."
        " rays: the network of whole rays (points of its proposals, a smaller network, are counted); masked: the"
        " same with an occupancy grid in place of proposals; march: on the host, empty cells passed over where it says"
        " so. A grid is filled once for a camera path.",
        renderers.nerf,
    ),
    Section(
        "outside_readers",
        "Files of assets in other programs",
        "A chair as a mesh and as Gaussians, read back; covariances relative to their norm, colours of 1, lengths of"
        " the cube's edge. SPZ holds sizes to 3 percent.",
        renderers.outside_readers,
    ),
    Section(
        "trust_damaged",
        "Damaged bundles",
        "Copies of bundles of trellis-mini, each damaged in one way, given to `verify` and `load`: refused is exit code"
        " 7 of both.",
        damage_renderers.trust_damaged,
    ),
    Section(
        "trust_malformed",
        "Malformed documents",
        "Wrong recipes, targets, overrides, manifests, reports, configurations and weights, given to the command that"
        " reads them: refused is an exit code from 2 on, with a remedy.",
        damage_renderers.trust_malformed,
    ),
    Section(
        "trust_kills",
        "Builds killed at random times",
        "`gen3dexport build` over a good bundle, killed at a random time of its length, and built again. Resume ratio:"
        " CPU seconds of the next build over those of the same build where nothing was killed and the caches hold the"
        " same finished components.",
        reliability_renderers.kills,
    ),
    Section(
        "trust_concurrency",
        "Commands at once",
        "Builds on one cold cache make each component once. An error is an exit status, a warning, or an asset that is"
        " neither the old nor the new bundle's.",
        reliability_renderers.concurrency,
    ),
    Section(
        "trust_loads",
        "Loads during exchanges",
        "An application loads a bundle and makes an asset, again and again in one process, while two bundles take each"
        " other's place: it has one of them whole, or is told to load again.",
        reliability_renderers.loads,
    ),
    Section(
        "trust_reproducible",
        "Same inputs, same bytes",
        "`gen3dexport build --check-reproducible`: two builds with other folders, HOME, TMPDIR, caches and hash seeds."
        " Measured fields are times and memory of the TPU's compiler in the manifest.",
        reliability_renderers.reproducible,
    ),
    Section(
        "asset_turns",
        "An asset here and at another commit",
        "One asset after another of held-out captions by two processes with one thread each, in turns; seconds"
        " measured, ratios of pairs. Scores are means against the true shapes: IoU of the voxels, F-score of the mesh"
        " at half a voxel, PSNR of unlit pictures.",
        asset_renderers.asset_turns,
    ),
    Section(
        "build_time",
        "A cold build here and at another commit",
        "`gen3dexport build` with validation by two commits' code, in turns, over empty caches. Peak memory is what the"
        " command and its children hold together (proportional set size). Stages are seconds that the command says.",
        asset_renderers.build_time,
    ),
    Section(
        "embed",
        "Everything that runs bundles",
        "One asset of trellis-mini (flow in int8), in turns. Memory of Chromium is the proportional share of all its"
        " processes after the last asset, of the others the most that a process held; Blender's is that of the C++ tool"
        " beside it. A warm asset of Blender is a new process of the tool and the import; Node makes one asset a"
        " process, and its time is without loading. IoU is that of voxels with Python's by the same bundle. ARM64"
        " under qemu is there for its numbers alone.",
        embed_renderers.embed,
    ),
    Section(
        "embed_cpp",
        "Bundles from C++",
        "trellis-mini for ExecuTorch by the library in `embed/cpp` and by Python, in turns, a process each.",
        embed_renderers.embed_cpp,
    ),
    Section(
        "web",
        "A bundle's page in the browser",
        "One asset of trellis-mini, tokens to mesh: onnxruntime-web in Chromium (WASM) and Python's onnxruntime, in"
        " turns; IoU of the voxels against Python's.",
        renderers.web,
    ),
    Section(
        "idle_threads",
        "Idle threads",
        "One call of trellis-mini's flow. `alone`: the script starts nothing else; `shared`: as many processes as there"
        " are cores count in a loop beside it. Variants take turns.",
        renderers.idle_threads,
    ),
    Section(
        "fresh_install",
        "What pip installs",
        "The wheel with an extra in an environment of its own, the versions of `constraints.txt`; then trellis-mini"
        " in `gen3dexport run`, from the start of the process to the file. Assets of one digest have the same bytes.",
        renderers.fresh_install,
    ),
    Section(
        "matrix",
        "Every family on five targets, tiny",
        "`gen3dexport matrix --size tiny`: golden networks in float32 through every backend.",
        matrix_page.summary,
    ),
    Section("cli_start", "What `gen3dexport ls` costs", "CPU seconds of one process, in turns.", renderers.cli_start),
)


def results() -> dict[str, dict[str, Any]]:
    """Every result file by its name without the ending."""
    return {path.stem: result_file.read(path) for path in sorted(RESULTS.glob("*.json"))}


def section(name: str) -> Section:
    """The first section whose pattern fits a result's name.

    Raises:
        LookupError: where none does.
    """
    for found in SECTIONS:
        if fnmatch(name, found.pattern):
            return found
    raise LookupError(f"benchmarks/results/{name}.json has no section; add one to SECTIONS in benchmarks/tables.py")


def page(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of docs/benchmarks.md."""
    newest = sorted(found, key=lambda name: found[name]["made"]["date"], reverse=True)
    rows = [(f"[{name}](#{name.lower()})", *_where(found[name]["made"])) for name in newest]
    parts = [HEAD.format(results=table(("result", "date", "commit", "device", "script"), rows))]
    for known in SECTIONS:
        for name in (name for name in found if section(name) is known):
            parts.append(
                f"## {name}\n\n**{known.title}.** {known.text}\n\n{known.render(found[name])}\n\n{_made(found[name])}\n"
            )
    return "\n".join(parts)


def _where(made: Mapping[str, Any]) -> tuple[str, ...]:
    return made["date"], f"`{made['commit']}`", made["device"], f"`{made['script']}`"


def _made(content: Mapping[str, Any]) -> str:
    made = content["made"]
    with_ = ", ".join(f"{name} {made['versions'][name]}" for name in SHOWN if name in made["versions"])
    settings = "".join(
        f", {key}: {content[key]}" for key in ("threads", "rounds", "runs", "seeds", "captions") if key in content
    )
    return (
        f"Made {made['date']} at `{made['commit']}` by `python {made['script']}`, device: {made['device']}{settings}; "
        f"{with_ or 'versions were not kept'}."
    )


def readme(text: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """README with every table between its marks made again.

    Raises:
        KeyError: for a mark whose table is not there.
    """

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        made = readme_tables.TABLES[name](found)
        return f"<!-- table {name} -->\n{made}\n<!-- end -->"

    return re.sub(r"<!-- table (\w+) -->\n.*?<!-- end -->", replaced, text, flags=re.DOTALL)


def stale(found: Mapping[str, Mapping[str, Any]]) -> dict[Path, str]:
    """Pages that differ from the JSON, and what they ought to be."""
    wanted = {PAGE: page(found), README: readme(README.read_text(encoding="utf-8"), found)}
    return {p: text for p, text in wanted.items() if not p.is_file() or p.read_text(encoding="utf-8") != text}


def age(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line a result: its date, its commit, and the commits since that changed src."""
    lines = []
    for name, content in found.items():
        commit = content["made"]["commit"].removesuffix("-dirty")
        command = ["git", "rev-list", "--count", f"{commit}..HEAD", "--", "src"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        since = "unknown commit" if done.returncode else f"{done.stdout.strip()} commits to src since"
        lines.append(f"{name}: {content['made']['date']} {content['made']['commit']}, {since}")
    return lines


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page differs")
    parser.add_argument("--age", action="store_true", help="only say how old every result is")
    given = parser.parse_args()
    found = results()
    if given.age:
        print(*age(found), sep="\n")
        return 0
    differ = stale(found)
    for path, text in differ.items():
        print(f"{path.relative_to(ROOT)}: {'differs from benchmarks/results' if given.check else 'written'}")
        if not given.check:
            path.write_text(text, encoding="utf-8")
    return 1 if given.check and differ else 0


if __name__ == "__main__":
    sys.exit(main())
