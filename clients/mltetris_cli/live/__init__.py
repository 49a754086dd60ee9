"""The live view: what a run looks like while it runs."""
