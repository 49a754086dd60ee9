"""The life of a run: states, scheduling, fan-out to watchers, launchers."""
