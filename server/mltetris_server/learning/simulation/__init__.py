"""Games played to be kept: every placement of them, written as a Minari dataset.

`crew` has threads that play boards and fill `blocks` with what happens, `recording` writes the
blocks to files while they play on. Nothing here knows of servers or runs.
"""
