"""Players compared on the same pieces: the games, spread over cores, and what they add up to."""
