"""JSON-RPC 2.0: every example of the specification, and that no bytes whatever break the dispatcher."""

import json
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo.json_rpc import BATCH_LIMIT, Dispatcher, Method
from trajstore.errors import TrajstoreError, UsageError


class Full(TrajstoreError):
    """An error with a code of its own."""


class SumParams(msgspec.Struct, forbid_unknown_fields=True):
    """Two numbers."""

    left: Annotated[int, msgspec.Meta(ge=0)]
    right: int = 0


class NoParams(msgspec.Struct, forbid_unknown_fields=True):
    """Nothing."""


class Bench:
    """A dispatcher whose methods note that they were called."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.dispatcher = Dispatcher(
            {
                "sum": Method(SumParams, self.sum),
                "start": Method(NoParams, lambda params: self.called.append("start"), needs_id=True),
                "full": Method(NoParams, lambda params: self.fail(Full("no room is left"))),
                "misuse": Method(NoParams, lambda params: self.fail(UsageError("k must be positive, got 0"))),
                "break": Method(NoParams, lambda params: self.fail(RuntimeError("secret of /home/me"))),
            },
            [(Full, -32001)],
        )

    def sum(self, params: SumParams) -> int:
        self.called.append("sum")
        return params.left + params.right

    def fail(self, error: Exception) -> None:
        raise error

    def ask(self, body: Any) -> Any:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.dispatcher.respond(text)
        return None if answer is None else json.loads(answer)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def call(method: str = "sum", request_id: object = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params, "id": request_id}


def code_of(answer: dict[str, Any]) -> int:
    assert set(answer) == {"jsonrpc", "error", "id"}
    assert set(answer["error"]) == {"code", "message"}
    return answer["error"]["code"]


@pytest.mark.parametrize("request_id", [1, -7, 0, 1.5, "a", "", 2**53, None])
def test_an_answer_carries_the_id_of_its_request(bench: Bench, request_id: object):
    assert bench.ask(call(left=2, right=3, request_id=request_id)) == {"jsonrpc": "2.0", "result": 5, "id": request_id}


def test_a_notification_is_carried_out_and_not_answered(bench: Bench):
    assert bench.ask({"jsonrpc": "2.0", "method": "sum", "params": {"left": 1}}) is None
    assert bench.called == ["sum"]


def test_a_notification_starts_nothing_whose_id_nobody_would_learn(bench: Bench):
    assert bench.ask({"jsonrpc": "2.0", "method": "start"}) is None
    assert bench.called == []


@pytest.mark.parametrize("method", ["missing", "sum", "break"])
def test_a_notification_that_fails_is_not_answered_either(bench: Bench, method: str):
    assert bench.ask({"jsonrpc": "2.0", "method": method}) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"jsonrpc": "2.0", "method": "sum", "params": "bar", "baz]',
        b'{"left": NaN}',
        b"[" * 100_000,
        b'[{"jsonrpc": "2.0", "method": "sum"},',
        b'{"id": 1e999}',
    ],
    ids=["empty", "cut", "no text", "broken", "NaN", "deep", "cut batch", "infinite"],
)
def test_what_is_no_json_is_a_parse_error_without_an_id(bench: Bench, body: bytes):
    answer = bench.ask(body)
    assert (code_of(answer), answer["id"]) == (-32700, None)


@pytest.mark.parametrize(
    "body",
    [
        1,
        "sum",
        None,
        {},
        {"method": "sum"},
        {"jsonrpc": "1.0", "method": "sum"},
        {"jsonrpc": "2.0", "method": 1, "params": "bar"},
        {"jsonrpc": "2.0", "method": "sum", "params": 1},
        {"jsonrpc": "2.0", "method": "sum", "id": True},
        {"jsonrpc": "2.0", "method": "sum", "id": {}},
        [],
    ],
)
def test_what_is_no_request_is_an_invalid_request(bench: Bench, body: object):
    answer = bench.ask(body)
    assert (code_of(answer), answer["id"]) == (-32600, None)
    assert bench.called == []


def test_an_invalid_request_is_answered_under_its_id_where_that_can_be_read(bench: Bench):
    assert bench.ask({"jsonrpc": "2.0", "id": "a"})["id"] == "a"


def test_an_unknown_method_is_named_beside_those_there_are(bench: Bench):
    answer = bench.ask(call("os.system"))
    assert (code_of(answer), answer["id"]) == (-32601, 1)
    assert "'os.system'" in answer["error"]["message"]
    assert "sum" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("params", "named"),
    [({}, "left"), ({"left": "1"}, "$.left"), ({"left": -1}, "$.left"), ({"left": 1, "path": "/etc"}, "`path`")],
)
def test_bad_params_are_refused_with_the_name_of_what_is_wrong(bench: Bench, params: dict[str, Any], named: str):
    answer = bench.ask(call(**params))
    assert code_of(answer) == -32602
    assert named in answer["error"]["message"]
    assert bench.called == []


def test_params_by_position_are_refused(bench: Bench):
    assert code_of(bench.ask({"jsonrpc": "2.0", "method": "sum", "params": [1, 2], "id": 1})) == -32602


@pytest.mark.parametrize(("method", "code"), [("full", -32001), ("misuse", -32602), ("break", -32603)])
def test_each_kind_of_error_has_its_code(bench: Bench, method: str, code: int):
    assert code_of(bench.ask(call(method))) == code


def test_an_unexpected_error_is_logged_and_not_told(bench: Bench, caplog: pytest.LogCaptureFixture):
    message = bench.ask(call("break"))["error"]["message"]
    assert "secret" not in message
    assert "Traceback" not in message
    assert "secret of /home/me" in caplog.text


def test_a_batch_is_answered_request_by_request_without_its_notifications(bench: Bench):
    notification = {"jsonrpc": "2.0", "method": "sum", "params": {"left": 1}}
    answers = bench.ask([call(left=1, request_id="a"), notification, 1, call("missing", request_id="b")])
    assert [(one["id"], one.get("result"), one.get("error", {}).get("code")) for one in answers] == [
        ("a", 1, None),
        (None, None, -32600),
        ("b", None, -32601),
    ]


def test_a_batch_of_notifications_is_not_answered(bench: Bench):
    assert bench.ask([{"jsonrpc": "2.0", "method": "sum", "params": {"left": 1}}] * 2) is None
    assert bench.called == ["sum", "sum"]


def test_a_batch_that_is_too_long_is_refused_whole(bench: Bench):
    assert code_of(bench.ask([call(left=1)] * (BATCH_LIMIT + 1))) == -32600
    assert bench.called == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["jsonrpc", "method", "params", "id", "left"]), inner, max_size=5)
    ),
    max_leaves=8,
)
REQUESTS = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | JSON, "method": st.sampled_from(["sum", "start", "break"]) | JSON},
    optional={"params": JSON, "id": JSON},
)


@given(
    st.binary(max_size=40)
    | (JSON | REQUESTS | st.lists(REQUESTS, max_size=3)).map(lambda one: json.dumps(one).encode())
)
def test_whatever_comes_in_the_answer_is_none_or_answers_of_the_specification(body: bytes):
    answer = Bench().ask(body)
    for one in answer if isinstance(answer, list) else [answer] if answer is not None else []:
        assert one["jsonrpc"] == "2.0"
        assert ("result" in one) != ("error" in one)
        assert "error" not in one or code_of(one) in (-32700, -32600, -32601, -32602, -32603)
