"""Suggestions of placements, made by a process of their own: the server loads no engine."""
