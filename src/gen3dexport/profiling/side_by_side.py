"""Two bundles' profiles side by side: how long the second takes where the first takes so long."""

from __future__ import annotations

from collections.abc import Mapping

from gen3dexport.profiling.kinds import OUTSIDE
from gen3dexport.profiling.records import Profile, Profiles, ProgramProfile, Ratio

WHOLE = "whole call"


def profiles(a: Profile, b: Profile | None = None) -> Profiles:
    """One profile, or two with their ratios, by component."""
    if b is None:
        return Profiles(profiles=(a,))
    both = [(name, one, two) for name, one in _components(a).items() if (two := _components(b).get(name)) is not None]
    ratios, names = [], []
    for component, one, two in both:
        ratios += [_ratio(component, WHOLE, one.call_ms, two.call_ms)]
        ratios += _ratios(component, kinds_with_rest(one), kinds_with_rest(two))
        first, second = _names(one), _names(two)
        alike = {name: second[name] for name in first if name in second}
        names += _ratios(component, {name: first[name] for name in alike}, alike)
    return Profiles(profiles=(a, b), ratios=tuple(ratios), names=tuple(names))


def kinds_with_rest(program: ProgramProfile) -> dict[str, float]:
    """Milliseconds of one traced call by kind, and what is left of it beyond its operators."""
    found = program.by_kind()
    if program.operators_ms is not None and program.traced.basis == "measured":
        rest = max(0.0, program.traced.mean_ms - program.operators_ms)
        found[OUTSIDE] = found.get(OUTSIDE, 0.0) + rest
    return found


def _components(profile: Profile) -> dict[str, ProgramProfile]:
    return {p.component: p for p in profile.programs if p.role == "component"}


def _names(program: ProgramProfile) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in program.operators:
        found[row.operator] = found.get(row.operator, 0.0) + row.ms
    return found


def _ratios(component: str, a: Mapping[str, float], b: Mapping[str, float]) -> list[Ratio]:
    order = sorted({**a, **b}, key=lambda kind: -max(a.get(kind, 0.0), b.get(kind, 0.0)))
    return [_ratio(component, kind, a.get(kind), b.get(kind)) for kind in order]


def _ratio(component: str, operator: str, a: float | None, b: float | None) -> Ratio:
    ratio = b / a if a and b is not None else None
    return Ratio(component=component, operator=operator, a_ms=a, b_ms=b, ratio=ratio)
