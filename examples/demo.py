"""`make demo`: build trellis-mini for the default target, make an asset with the built bundle, and say where it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

OUT = Path("out/demo")
PROMPT = "a medium-width chair with a low seat, a tall backrest, four thick legs and no armrests, facing the back"


def gen3dexport(*arguments: str) -> None:
    """Run the command line as a user would, and stop when it fails."""
    print("$ gen3dexport " + " ".join(f'"{a}"' if " " in a else a for a in arguments), flush=True)
    subprocess.run([str(Path(sys.executable).with_name("gen3dexport")), *arguments], check=True)


def main() -> None:
    """The demo's three commands."""
    prompt = sys.argv[1] if len(sys.argv) > 1 else PROMPT
    bundle = OUT / "bundle"
    gen3dexport("build", "trellis-mini", "--target", "executorch", "-o", str(bundle))
    gen3dexport("run", str(bundle), "--prompt", prompt, "-o", str(OUT / "asset.glb"), "--render")
    shutil.copyfile(bundle / "report.html", OUT / "report.html")
    print(
        f"\nasset    {OUT / 'asset.glb'}\npicture  {OUT / 'asset.png'}\nreport   {OUT / 'report.html'}\n"
        f"\ntry next:\n  .venv/bin/gen3dexport run {bundle} --prompt "
        '"a tall lamp with a round base, a thin pole and a wide cone shade" -o lamp.glb --render\n'
        "  .venv/bin/gen3dexport build --target tpu\n  .venv/bin/gen3dexport ls targets"
    )


if __name__ == "__main__":
    main()
