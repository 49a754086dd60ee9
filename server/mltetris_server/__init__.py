"""The mlTetris server and its workers."""
