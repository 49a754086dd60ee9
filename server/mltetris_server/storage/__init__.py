"""What is kept: history in SQLite, slots and checkpoints in files."""
