"""What can be asked of a plot."""

from __future__ import annotations

from typing import Literal

MetricName = Literal["lines", "reward", "loss", "speed", "exploration", "learning-rate"]
OverName = Literal["placements", "seconds"]
GroupingName = Literal["run", "name", "algorithm"]
