"""The worker of `thinwire bench step` with contenders that break: `python -m tests.bench.broken PLAN`.

`raises` fails on rank 1 in its second turn, `hangs` never comes back on rank 1. Waits are short.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import Any

from torch import nn

from thinwire import baselines
from thinwire.baselines import METHODS, Choice, Prepared
from thinwire.bench import step_plan, step_worker


def _broken(how: str) -> Any:
    def prepare(model: nn.Module, choice: Choice) -> Prepared:
        made, taken = METHODS["ddp"](model, choice), iter(range(1000))

        def after() -> None:
            if next(taken) == step_plan.TURN + 1 and os.environ["RANK"] == "1":
                if how == "raises":
                    raise ArithmeticError("one worker has had enough")
                threading.Event().wait()

        return replace(made, after_backward=after)

    return prepare


if __name__ == "__main__":
    step_plan.PATIENCE = 6.0
    step_worker.METHODS = {**baselines.METHODS, "raises": _broken("raises"), "hangs": _broken("hangs")}
    step_worker.main()
