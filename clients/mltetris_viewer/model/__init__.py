"""What the viewer knows: pure state, without threads, without pygame."""
