"""The page that lies in a conformance kit. No NumPy."""

from __future__ import annotations

from gen3dexport.host_steps.kit import Kit, KitRequest


def readme(kit: Kit) -> str:
    """README.md of a kit."""
    rows = [
        f"| `{value}` | {step.op} | {_close(kit.tolerances[value].relative_l2)} |"
        for step in kit.requests[0].steps
        for value in step.values
    ]
    requests = [f"- `{k}/`: {_request(one)}" for k, one in enumerate(kit.requests)]
    floors = [f"- {kind}: first score at least {floor}" for kind, floor in kit.scores.items()]
    return "\n".join(
        [
            f"# Conformance kit of {kit.recipe} on {kit.target}",
            "",
            "Values of every host step, made by gen3dexport's reference interpreter with the bundle's own programs.",
            "`kit.json` lists them in the steps' order; gen3dexport's docs/host-steps.md says what each computes.",
            "Arrays are `.npy` files (version 1.0, little-endian, C order).",
            "",
            "## Requests",
            "",
            *requests,
            "",
            "## Values",
            "",
            "| value | made by | may differ by |",
            "|---|---|---|",
            *rows,
            "",
            "A sampler's latent after its step N is `VALUE.N.npy`: the first one that is too far says where to look.",
            "",
            "## Assets",
            "",
            *floors,
            "",
            "Where the value that an asset is made of is the kit's bit for bit, its arrays must be the kit's too:",
            "integers equal, floats within 1e-6. `.glb` and `.ply` are what `gen3dexport run` writes.",
            "",
            "## Check an implementation",
            "",
            "1. Noise: `noise/SEED.npy` has the first numbers of a seed, `kit.json` the SHA-256 of the first 100 000.",
            "2. Tokens: `tokens` in `kit.json`, neither filled up nor cut. Where `may_differ` stands, others are fine.",
            "3. Steps: run each request of `kit.json` with the bundle's programs. Write every value and asset array",
            "   into a folder of your own under the kit's names; latents if you have them.",
            "4. `gen3dexport embed-kit KIT --check YOURS` says how far each is, and fails where one is too far.",
            "",
            "A step alone is checked by giving it the kit's values instead of yours.",
            "",
        ]
    )


def _close(far: float) -> str:
    return "nothing: bit for bit" if far == 0 else f"{far:g} (relative L2)"


def _request(one: KitRequest) -> str:
    given = [f"prompt {one.prompt!r}"] if one.prompt else []
    given += ["features (`features.npy`)"] if one.features is not None else []
    return ", ".join([*given, f"seed {one.seed}"])
