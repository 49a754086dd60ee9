"""Who may call what: no token, a wrong one, a viewer's, an operator's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from mltetris_api.v1 import policy_pb2, system_pb2, trainer_pb2
from mltetris_server.service import access
from mltetris_server.service.access import ANYBODY, OPERATOR, RULES, VIEWER, Tokens
from support.server import ServerProcess

OPERATOR_TOKEN = "operator-0123456789abcdef"
VIEWER_TOKEN = "viewer-0123456789abcdef"

SERVICES = (
    trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"],
    policy_pb2.DESCRIPTOR.services_by_name["PolicyService"],
    system_pb2.DESCRIPTOR.services_by_name["SystemService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
)
METHODS = [method for service in SERVICES for method in service.methods]


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


@pytest.mark.parametrize("method", METHODS, ids=path_of)
def test_every_method_has_a_rule(method: MethodDescriptor) -> None:
    assert path_of(method) in RULES


def test_every_rule_is_for_a_method_there_is() -> None:
    there = {path_of(method) for method in METHODS}
    there |= {path.replace("v1alpha", "v1") for path in there}
    assert set(RULES) <= there


def test_what_has_no_rule_is_for_operators() -> None:
    assert access.least_role("/mltetris.v1.TrainerService/Anything") == OPERATOR


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a token for each role."""
    server = ServerProcess(tmp_path_factory.mktemp("guarded") / "data")
    server.environment["MLTETRIS_OPERATOR_TOKEN"] = OPERATOR_TOKEN
    server.environment["MLTETRIS_VIEWER_TOKEN"] = VIEWER_TOKEN
    with server:
        yield server


def answer(server: ServerProcess, method: MethodDescriptor, header: str | None) -> grpc.StatusCode:
    """How an empty request is answered; of a stream, how it begins."""
    metadata = [("authorization", header)] if header is not None else []
    respond = GetMessageClass(method.output_type).FromString
    with server.channel() as channel:
        if method.client_streaming:
            make = channel.stream_stream if method.server_streaming else channel.stream_unary
            given: object = iter(())
        else:
            make = channel.unary_stream if method.server_streaming else channel.unary_unary
            given = GetMessageClass(method.input_type)()
        call = make(path_of(method), lambda message: message.SerializeToString(), respond)
        try:
            result = call(given, metadata=metadata, timeout=10)
            if method.server_streaming:
                next(iter(result), None)
                result.cancel()
        except grpc.RpcError as error:
            return error.code()  # type: ignore[attr-defined, no-any-return]
    return grpc.StatusCode.OK


@pytest.mark.parametrize("method", METHODS, ids=path_of)
def test_each_role_gets_to_what_it_may(guarded: ServerProcess, method: MethodDescriptor) -> None:
    refused = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
    least = RULES[path_of(method)]
    nobody = answer(guarded, method, None)
    viewer = answer(guarded, method, f"Bearer {VIEWER_TOKEN}")
    operator = answer(guarded, method, f"Bearer {OPERATOR_TOKEN}")
    assert operator not in refused
    if least == ANYBODY:
        assert nobody not in refused
        assert viewer not in refused
        return
    assert nobody == grpc.StatusCode.UNAUTHENTICATED
    if least == VIEWER:
        assert viewer not in refused
    else:
        assert viewer == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {OPERATOR_TOKEN}",
        OPERATOR_TOKEN,
        f"Bearer {OPERATOR_TOKEN}x",
        f"Bearer {OPERATOR_TOKEN[:-1]}",
        f"Bearer {OPERATOR_TOKEN.upper()}",
        f"Bearer {OPERATOR_TOKEN} {OPERATOR_TOKEN}",
    ],
)
def test_a_wrong_token_is_none(guarded: ServerProcess, header: str) -> None:
    (method,) = [method for method in METHODS if method.name == "ListRuns"]
    assert answer(guarded, method, header) == grpc.StatusCode.UNAUTHENTICATED


def test_a_refusal_and_the_log_keep_the_secrets(guarded: ServerProcess) -> None:
    with guarded.channel() as channel:
        call = channel.unary_unary("/mltetris.v1.TrainerService/StopRun")
        for token in (VIEWER_TOKEN, "wrong-0123456789abcdef", OPERATOR_TOKEN):
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", metadata=[("authorization", f"Bearer {token}")], timeout=10)
            assert token not in str(caught.value)
    log = guarded.log_path.read_text()
    for token in (VIEWER_TOKEN, OPERATOR_TOKEN, "wrong-0123456789abcdef"):
        assert token not in log


def test_a_server_says_who_calls(guarded: ServerProcess) -> None:
    with guarded.channel() as channel:
        ask = channel.unary_unary("/mltetris.v1.SystemService/GetServerInfo")
        for token, role in ((VIEWER_TOKEN, VIEWER), (OPERATOR_TOKEN, OPERATOR)):
            raw = ask(b"", metadata=[("authorization", f"Bearer {token}")], timeout=10)
            info = system_pb2.GetServerInfoResponse.FromString(raw)
            assert info.role == role
            assert info.tokens_required


def test_without_tokens_everybody_is_an_operator() -> None:
    tokens = Tokens()
    assert not tokens.required
    assert tokens.role_of("") == tokens.role_of("Bearer anything") == OPERATOR


@pytest.mark.parametrize(
    ("operator", "viewer", "why"),
    [
        ("short", "", "16"),
        ("x" * 16, "short", "16"),
        ("x" * 16, "x" * 16, "same"),
        ("", "x" * 16, "operator"),
        ("x" * 15 + "é", "", "ASCII"),
        ("x" * 8 + " " + "x" * 8, "", "spaces"),
    ],
)
def test_tokens_that_are_none_are_refused(operator: str, viewer: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        Tokens(operator=operator, viewer=viewer)
    assert operator == "" or operator not in str(caught.value)


def test_tokens_do_not_show(tmp_path: Path) -> None:
    tokens = Tokens(operator=OPERATOR_TOKEN, viewer=VIEWER_TOKEN)
    assert OPERATOR_TOKEN not in repr(tokens)
    assert VIEWER_TOKEN not in repr(tokens)
