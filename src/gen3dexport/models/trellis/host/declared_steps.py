"""TRELLIS's host steps as data, for embedders in any language. No torch, no NumPy."""

from __future__ import annotations

from gen3dexport.documents.host_steps import (
    CallProgram,
    Features,
    FlowEuler,
    FlowStep,
    HostSteps,
    MarchingCubes,
    Noise,
    OneProgram,
    Operation,
    Positive,
    Requested,
    Rule,
    Tokenize,
    Zeros,
)
from gen3dexport.models.trellis.host.settings import Sampling, Settings

_TOKENIZER = "host/tokenizer.json"


def host_steps(settings: Settings) -> HostSteps | None:
    """The structure stage from a prompt or given features to voxels and their surface.

    None for a pipeline with a structured latent, whose tables and decoders no operation describes, and for one that
    takes a photograph, whose background must be cut out.
    """
    if settings.slat is not None or "image_encoder" in settings.checkpoints:
        return None
    if "text_encoder" in settings.checkpoints:
        if settings.encoder is not None and not settings.encoder.tokenizer:
            return None  # only the size of its programs counts
        request, conditions = Requested(prompt=True, seed=True), _encoded(settings)
    else:
        paired = settings.negative == "given"
        shape = (2, *settings.condition) if paired else settings.condition
        request, conditions = Requested(features=shape, seed=True), _given(settings, paired)
    noise = Noise(shape=(1, *settings.latent), output="noise")
    held = "flow_context" in settings.checkpoints
    steps = (
        noise,
        *conditions,
        *(_held() if held else ()),
        _flow(settings, "context" if held else "cond", "flow_context" if held else "cond"),
        CallProgram(component="decoder", inputs={"z": "z"}, outputs={"logits": "logits"}),
    )
    assets: dict[str, Rule] = {"mesh": MarchingCubes(value="logits"), "voxels": Positive(value="logits")}
    return HostSteps(request=request, steps=steps, assets=assets)


def _encoded(settings: Settings) -> tuple[Operation, ...]:
    """Both conditions by the text encoder: of the prompt, and of the empty prompt, from which guidance goes away."""
    steps: list[Operation] = []
    masked = settings.encoder is None
    for branch, text in (("", "prompt"), ("neg_", "empty")):
        steps.append(
            Tokenize.model_validate(
                {
                    "text": text,
                    "file": _TOKENIZER,
                    "length": settings.condition[0],
                    "fill": "zeros" if masked else "end",
                    "overflow": "refuse" if masked else "cut",
                    "ids": f"{branch}ids",
                    "mask": f"{branch}mask" if masked else None,
                }
            )
        )
    for branch in ("", "neg_"):
        inputs = {name: f"{branch}{name}" for name in (("ids", "mask") if masked else ("ids",))}
        steps.append(CallProgram(component="text_encoder", inputs=inputs, outputs={"features": f"{branch}cond"}))
    return tuple(steps)


def _given(settings: Settings, paired: bool) -> tuple[Operation, ...]:
    """Both conditions as the application gives them; guidance goes away from zeros where it gives one alone."""
    if paired:
        return Features(row=0, output="cond"), Features(row=1, output="neg_cond")
    return Features(output="cond"), Zeros(shape=(1, *settings.condition), output="neg_cond")


def _held() -> tuple[Operation, ...]:
    """The flow's keys and values of both conditions, once for all steps."""
    return tuple(
        CallProgram(
            component="flow_context",
            inputs={"cond": f"{branch}cond"},
            outputs={"context": f"{branch}flow_context"},
        )
        for branch in ("", "neg_")
    )


def _flow(sampling: Sampling, name: str, value: str) -> FlowEuler:
    """The sampler loop; `name` is the flow's input that takes the condition, `value` the condition."""
    steps = tuple(
        FlowStep(time=1000 * step.t, dt=step.move, weight=step.weight, reuse=step.reuse, previous=step.previous)
        for step in sampling.schedule.plan
    )
    whole = OneProgram(inputs={"x": "noise", name: value, f"neg_{name}": f"neg_{value}"}, outputs={"x": "z"})
    return FlowEuler(
        component="flow",
        noise="noise",
        latent_input="x",
        time_input="t",
        velocity_output="v",
        batch=2 if sampling.batch == 2 else 1,
        conditional={name: value},
        unconditional={name: f"neg_{value}"},
        join={name: 2 if sampling.cache_context else 0} if sampling.batch == 2 else {},
        steps=steps,
        output="z",
        sampler=whole if sampling.batch == 1 else None,
    )
