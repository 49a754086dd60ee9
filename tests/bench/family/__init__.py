"""How well and how fast every algorithm learns: the table of docs/learning.md.

make bench-learning                                    everything; hours
.venv/bin/python -m bench.family --list                (in tests/) the rows there are
.venv/bin/python -m bench.family td ppo --seeds 3      some of them, on fewer seeds
.venv/bin/python -m bench.family --results FILE        keeps what is done there, and goes on from it
"""
