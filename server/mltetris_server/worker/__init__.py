"""The process that runs one run and dials back to the server."""
