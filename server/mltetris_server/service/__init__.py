"""gRPC servicers, errors, validation, assembly of the server."""

import os

# gRPC prints what strangers send as it comes, line breaks and all. What matters of a connection is
# in our own log; who looks for more sets the variable to INFO. It is read when gRPC is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
