"""How calls are made: gRPC's errors turned into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import grpc

from mltetris_client.errors import Closed, MlTetrisError, from_call


def translate(error: grpc.RpcError, address: str) -> MlTetrisError:
    """The exception for a failed gRPC call to ``address``."""
    # Every RpcError that a call raises is a Call too, which the stubs do not say.
    return from_call(cast("grpc.Call", error), address=address)


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Raises this package's exceptions for those of gRPC.

    Raises:
        MlTetrisError: a call made inside failed, or the channel was closed under it.
    """
    try:
        yield
    except grpc.RpcError as error:
        raise translate(error, address) from error
    except ValueError as error:
        # The only way gRPC has of saying that the channel was closed.
        if "cannot invoke rpc" in str(error).lower():
            raise Closed("the connection was closed") from error
        raise
