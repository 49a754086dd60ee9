"""Agents: stable-baselines3 algorithms, greedy evaluation, checkpoints, export."""
