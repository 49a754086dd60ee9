"""The `mltetris` command."""
