"""gRPC servicers, errors, validation, assembly of the server."""
