"""A process that makes entries of the stage cache (`workers.COMMAND`).

It reads an order from each line of its standard input (`orders.Order`), and writes lines to the file descriptor
ANSWERS, its argument; it ends with its standard input, of which what it calls has nothing.

    {"stage": [COMPONENT, STAGE]}          a stage begins
    {"states": FOLDER}                     the states after the component are known (`keys.states_after`)
    {"entry": FOLDER, "warnings": [TEXT]}                                  the end of an order, or
    {"parameters": {COMPONENT: NUMBER}, "warnings": [TEXT]}                that of a check, or
    {"error": a class of `errors`, "message": TEXT, "warnings": [TEXT]}    that of either, or
    {"absent": MODULE, "message": TEXT, "warnings": [TEXT]}                that of either
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gen3dexport.bundle import golden, stage_cache
from gen3dexport.disk import disk_error
from gen3dexport.errors import GenExportError
from gen3dexport.making.entry import made
from gen3dexport.making.orders import Order, plan_of
from gen3dexport.models.declaration import State
from gen3dexport.sizing import check_checkpoints, check_rules


def main(arguments: Sequence[str]) -> None:
    """Make what is asked for until standard input ends, or the process that asks does."""
    answers = int(arguments[0])
    os.set_inheritable(answers, False)
    given = os.dup(0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    with os.fdopen(answers, "w", encoding="utf-8") as stream, os.fdopen(given, "rb") as orders:

        def say(answer: dict[str, Any]) -> None:
            print(json.dumps(answer), file=stream, flush=True)

        for line in orders:
            with warnings.catch_warnings(record=True) as heard:
                answer = _answer(Order.model_validate_json(line), say)
            say({**answer, "warnings": [str(w.message) for w in heard]})
            _give_back()


def _answer(asked: Order, say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Make one component, or check the plan; what it ended with."""

    def on_states(folder: Path) -> None:
        say({"states": str(folder)})

    try:
        plan = plan_of(asked)
        if not asked.component:
            check_rules(plan)
            return {"parameters": check_checkpoints(plan)}
        before: list[State] = [*golden.read_states(asked.before)]
        entry = made(plan, asked.component, before, lambda *what: say({"stage": what}), on_states)
    except GenExportError as error:
        return {"error": error.kind, "message": str(error)}
    except OSError as error:
        mended = disk_error(error, stage_cache.folder())
        return {"error": mended.kind, "message": str(mended)}
    except ModuleNotFoundError as error:
        return {"absent": error.name, "message": str(error)}
    except Exception:  # the process that asks has no other way to learn of it
        return {"error": GenExportError.__name__, "message": f"{asked.component or 'plan'}: {traceback.format_exc()}"}
    return {"entry": str(entry)}


def _give_back() -> None:
    """Have the memory of what was made go back to the system, where its allocator can: the next one may be for another
    process to make."""
    gc.collect()
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
