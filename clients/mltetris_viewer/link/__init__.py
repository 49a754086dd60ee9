"""The threads that talk to the server, through the SDK. The window never waits for them."""
