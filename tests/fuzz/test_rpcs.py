"""Every RPC with made-up requests: no fault, no hang, no secret, and the server goes on.

In the default run a few requests of each, always the same ones. In `make test-all` others, for
`MLTETRIS_FUZZ_SECONDS` (300); a failure prints the seed and the call, and
`MLTETRIS_FUZZ_SEED` begins with that seed.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import grpc
import pytest
from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from mltetris_server.service.access import ANYBODY, OPERATOR, least_role
from support.fuzzing import served as world
from support.fuzzing.fields import has_field
from support.fuzzing.leaks import leaks, said
from support.fuzzing.messages import Words, requests
from support.fuzzing.methods import PATIENCE_S, WATCHED_S, Answer, Method, ask, public_methods
from support.fuzzing.served import Served, bearer

METHODS = public_methods()
SECONDS = float(os.environ.get("MLTETRIS_FUZZ_SECONDS", "300"))
BATCH = 15
NEVER = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}
REFUSALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
TOKENS = (*[world.OPERATOR] * 8, world.VIEWER, world.VIEWER, "", world.WRONG)

FUZZING = settings(
    deadline=None,
    database=None,
    # What a server answers depends on what it was sent before: a smaller call proves nothing.
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("fuzzed"), "--log-level", "debug") as made:
        yield made


def made_up(method: Method, words: Words, data: st.DataObject) -> tuple[list[bytes], str]:
    """The requests of a call, and the token it is made with."""
    kind = method.contract.input_type
    raws = data.draw(requests(kind, words, stream=method.contract.client_streaming))
    return raws, data.draw(st.sampled_from(TOKENS))


def attack(served: Served, method: Method, raws: Sequence[bytes], token: str) -> Answer:
    """Makes a call, and looks at what comes back."""
    # What is to be refused is waited for.
    watched = WATCHED_S if refusal_of(method, token) is None else PATIENCE_S
    answer = ask(served.channel, method, raws, bearer(token), watched_s=watched)
    try:
        judge(served, method, token, answer)
    except AssertionError:
        print(f"{method.path} with {token or 'no token'}:\n{shown(method, raws)}\n{answer}")
        raise
    return answer


def refusal_of(method: Method, token: str) -> grpc.StatusCode | None:
    """How a call with `token` is to be refused, whatever it asks; None: it is let in."""
    least = least_role(method.path)
    if token in ("", world.WRONG) and least != ANYBODY:
        return grpc.StatusCode.UNAUTHENTICATED
    if token == world.VIEWER and least == OPERATOR:
        return grpc.StatusCode.PERMISSION_DENIED
    return None


def judge(served: Served, method: Method, token: str, answer: Answer) -> None:
    """What holds of every answer, whatever was asked."""
    assert answer.code not in NEVER
    refused = refusal_of(method, token)
    if refused is not None:
        assert answer.code == refused
    else:
        assert answer.code not in REFUSALS
    needles = served.needles
    assert not said(answer.text, needles)
    assert not said(str(answer.status), needles)
    for response in answer.responses:
        assert not leaks(response, needles)
    if answer.code == grpc.StatusCode.INVALID_ARGUMENT:
        assert answer.text
        if not answer.text.startswith("the request is not a "):
            assert answer.fields, "no field is named"
        for field in answer.fields:
            assert has_field(method.contract.input_type, field), f"there is no field {field}"


def shown(method: Method, raws: Sequence[bytes]) -> str:
    """The requests as text, for who has to make them again."""
    return "\n".join(_shown(GetMessageClass(method.contract.input_type), raw) for raw in raws)


def _shown(kind: type[Message], raw: bytes) -> str:
    try:
        message = kind.FromString(raw)
    except DecodeError:
        return f"bytes {raw[:2000]!r}"
    return f"{kind.DESCRIPTOR.name} {{{text_format.MessageToString(message)[:4000]}}} {raw[:200]!r}"


def test_every_method_there_is_is_fuzzed(served: Served) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = stub.ServerReflectionInfo(iter([request]), **served.operator)
    there = {service.name for service in answer.list_services_response.service}
    assert {method.path.split("/")[1] for method in METHODS} == there


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_few_calls_of_each(served: Served, method: Method) -> None:
    words = served.words()

    @settings(FUZZING, max_examples=BATCH, derandomize=True)
    @given(st.data())
    def some(data: st.DataObject) -> None:
        attack(served, method, *made_up(method, words, data))

    some()
    served.check()
    served.restock()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_many_calls_of_all(served: Served) -> None:
    number = int(os.environ.get("MLTETRIS_FUZZ_SEED", str(random.SystemRandom().getrandbits(32))))
    deadline = time.monotonic() + SECONDS
    answers: Counter[str] = Counter()
    while time.monotonic() < deadline:
        print(f"MLTETRIS_FUZZ_SEED={number}")
        _batch(served, number, deadline, answers)
        served.check()
        served.restock()
        number += 1
    print(f"{sum(answers.values())} calls: {dict(answers.most_common())}")
    # A fuzzer that is always refused tests nothing.
    assert answers["OK"] > sum(answers.values()) / 10


def _batch(served: Served, number: int, deadline: float, answers: Counter[str]) -> None:
    words = served.words()

    @settings(FUZZING, max_examples=200)
    @seed(number)
    @given(st.data())
    def batch(data: st.DataObject) -> None:
        method = data.draw(st.sampled_from(METHODS))
        raws, token = made_up(method, words, data)
        if time.monotonic() < deadline:
            answers[attack(served, method, raws, token).code.name] += 1

    batch()
