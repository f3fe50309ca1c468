"""Components' entries, made in this process."""

from __future__ import annotations

from gen3dexport.making.entry import made
from gen3dexport.making.start import Made, Making, OnStage
from gen3dexport.models.declaration import State
from gen3dexport.plan import Plan
from gen3dexport.sizing import check_checkpoints, check_rules


class Here:
    """Makes an entry when it is begun."""

    def check(self, plan: Plan) -> None:
        """See `Makers`."""
        check_rules(plan)
        check_checkpoints(plan)

    def start(self, plan: Plan, name: str, states: list[State], on_stage: OnStage) -> Making:
        """See `Makers`."""
        return Made(made(plan, name, states, on_stage))
