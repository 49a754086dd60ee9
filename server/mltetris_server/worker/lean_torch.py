"""Keeps torch from loading its compiler, which nothing here uses.

torch's optimizers are marked so that `torch.compile` leaves parts of them alone, and the
marks import `torch._dynamo` with the first use: more than a second of every run's start,
and a hundred megabytes of each worker. Without the compiler they mean nothing, so they are
taken off: the same functions run, called directly. Where a version of torch is made otherwise,
nothing is changed and a start takes its second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Adam, Optimizer

_MARK = "__dynamo_disable"
"""Where `torch._disable_dynamo` looks for what to call before it imports the compiler."""


def spare_the_compiler() -> None:
    """Takes the marks off torch's optimizers, in this process."""
    for member in vars(Optimizer).values():
        function = getattr(member, "__wrapped__", None)
        if function is not None and not hasattr(function, _MARK):
            setattr(function, _MARK, function)
    step = _innermost(Adam.step)
    if step is not Adam.step:
        # What the wrapper does besides, for an optimizer that is not differentiable.
        Adam.step = torch.no_grad()(step)  # type: ignore[method-assign]


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function
