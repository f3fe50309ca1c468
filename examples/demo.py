"""`make demo`: build trellis-mini-color for ExecuTorch, make an asset with the built bundle, and say where it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

OUT = Path("out/demo")
PROMPT = (
    "a double pink metal bed with a low headboard, a footboard, four legs, no bedposts, two pillows and a green "
    "mattress, facing left"
)


def gen3dexport(*arguments: str) -> None:
    """Run the command line as a user would, and stop when it fails."""
    print("$ gen3dexport " + " ".join(f'"{a}"' if " " in a else a for a in arguments), flush=True)
    subprocess.run([str(Path(sys.executable).with_name("gen3dexport")), *arguments], check=True)


def main() -> None:
    """The demo's commands."""
    prompt = sys.argv[1] if len(sys.argv) > 1 else PROMPT
    bundle = OUT / "bundle"
    gen3dexport("build", "trellis-mini-color", "--target", "executorch", "-o", str(bundle))
    files = [OUT / f"asset.{ending}" for ending in ("glb", "ply", "html")]
    gen3dexport("run", str(bundle), "--prompt", prompt, *(a for f in files for a in ("-o", str(f))), "--render")
    shutil.copyfile(bundle / "report.html", OUT / "report.html")
    print(
        f"\nmesh     {files[0]}\nsplats   {files[1]}, to turn: {files[2]}\n"
        f"picture  {OUT / 'asset.png'}\nreport   {OUT / 'report.html'}\n"
        f"\ntry next:\n  .venv/bin/gen3dexport run {bundle} --prompt "
        '"a tall red lamp with a round base, a thin pole and a wide yellow cone shade" -o lamp.glb --render\n'
        "  .venv/bin/gen3dexport build --target tpu\n  .venv/bin/gen3dexport ls targets"
    )


if __name__ == "__main__":
    main()
