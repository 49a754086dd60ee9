"""One channel with its stubs, and how a plain call is made on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message
from mltetris_api.v1 import policy_pb2_grpc, system_pb2, system_pb2_grpc, trainer_pb2_grpc

from mltetris_client._calls import translated
from mltetris_client.access import Access
from mltetris_client.channel import open_channel, resolve_address
from mltetris_client.errors import NoAnswer, Unreachable

_Response = TypeVar("_Response")

_PAUSE_S = 0.1
"""Between two attempts to reach a server whose connection broke at once."""


class Link:
    """The connection below a `Trainer`; gRPC makes it when the first call needs it."""

    def __init__(self, address: str | None, access: Access, *, timeout: float) -> None:
        place = resolve_address(address)
        self.address = place.target
        self.timeout = timeout
        self.answered = False
        """Whether the server has answered anything over this connection yet."""
        self._channel = open_channel(place, access)
        self.trainer = trainer_pb2_grpc.TrainerServiceStub(self._channel)
        self.policy = policy_pb2_grpc.PolicyServiceStub(self._channel)
        self.system = system_pb2_grpc.SystemServiceStub(self._channel)

    def close(self) -> None:
        """Closes the channel; calls under way fail with `Closed`."""
        self._channel.close()

    def wait_ready(self, timeout: float) -> None:
        """Waits until the server answers.

        Raises:
            Unreachable: it did not within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            try:
                with translated(self.address):
                    self.system.GetServerInfo(
                        system_pb2.GetServerInfoRequest(), timeout=left, wait_for_ready=True
                    )
            except NoAnswer as error:
                raise Unreachable(f"no mlTetris server answers at {self.address}") from error
            except Unreachable:
                # The connection was made and then broke: a server that ends, or one that begins.
                if left <= _PAUSE_S:
                    raise
                time.sleep(_PAUSE_S)
            else:
                self.answered = True
                return

    def unary(self, method: Callable[..., _Response], request: Message) -> _Response:
        """Makes one call.

        Raises:
            MlTetrisError: it failed.
        """
        with translated(self.address):
            response = method(request, timeout=self.timeout)
        self.answered = True
        return response
