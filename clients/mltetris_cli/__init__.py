"""The `mltetris` command: everything a server can do, from a terminal and from scripts."""
