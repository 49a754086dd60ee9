"""Learning curves of runs, as a picture. Importing this loads nothing; only `drawing` needs
matplotlib."""
