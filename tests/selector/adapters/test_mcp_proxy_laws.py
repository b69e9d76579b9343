"""Laws of the MCP proxy: no message stops it, and what is no business of its own it leaves alone."""

import asyncio

import pytest

pytest.importorskip("mcp")

from hypothesis import given
from hypothesis import strategies as st
from mcp.types import (
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)

from selector.adapters.advisor import Advisor
from selector.adapters.mcp_routes import FINISH, ProxySettings, Routed
from selector.adapters.mcp_session import GuidedSession
from selector.selector import Selector
from trajstore.store import TrajectoryStore

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), PLAIN, max_size=3)
PARAMS = st.none() | OBJECTS
METHODS = st.text().filter(lambda method: method not in ("tools/call", "tools/list", FINISH))
MESSAGES: st.SearchStrategy[JSONRPCMessage] = st.one_of(
    st.builds(JSONRPCRequest, jsonrpc=st.just("2.0"), id=st.integers() | st.text(), method=METHODS, params=PARAMS),
    st.builds(JSONRPCNotification, jsonrpc=st.just("2.0"), method=METHODS, params=PARAMS),
    st.builds(JSONRPCResponse, jsonrpc=st.just("2.0"), id=st.integers() | st.text(), result=OBJECTS),
)


@given(st.lists(st.tuples(st.booleans(), MESSAGES), max_size=5))
def test_what_is_no_business_of_the_proxy_goes_through_unchanged(messages: list[tuple[bool, JSONRPCMessage]]):
    async def pass_on() -> None:
        session = GuidedSession(advisor, ProxySettings())
        for is_clients, message in messages:
            routed = await (session.from_client(message) if is_clients else session.from_server(message))
            assert routed == (Routed(to_server=(message,)) if is_clients else Routed(to_client=(message,)))

    with TrajectoryStore(":memory:") as store:
        advisor = Advisor(Selector(store))
        asyncio.run(pass_on())


ODD = st.sampled_from(["tools/call", "tools/list", "initialize", "notifications/cancelled", FINISH])
IDS = st.sampled_from([1, 2, "1", "trajstore-tools"])
NAMED = st.fixed_dictionaries({}, optional={"name": PLAIN, "arguments": PLAIN, "_meta": PLAIN, "requestId": IDS})
LISTED = st.fixed_dictionaries({}, optional={"tools": PLAIN, "content": PLAIN, "isError": PLAIN, "_meta": PLAIN})
ODD_MESSAGES: st.SearchStrategy[JSONRPCMessage] = st.one_of(
    st.builds(JSONRPCRequest, jsonrpc=st.just("2.0"), id=IDS, method=ODD, params=st.none() | NAMED),
    st.builds(JSONRPCNotification, jsonrpc=st.just("2.0"), method=ODD, params=st.none() | NAMED),
    st.builds(JSONRPCResponse, jsonrpc=st.just("2.0"), id=IDS, result=LISTED),
)


@given(st.lists(st.tuples(st.booleans(), ODD_MESSAGES), max_size=6))
def test_no_message_however_odd_stops_the_proxy(messages: list[tuple[bool, JSONRPCMessage]]):
    async def pass_on() -> None:
        session = GuidedSession(advisor, ProxySettings(patience_seconds=0.01))
        for is_clients, message in messages:
            await (session.from_client(message) if is_clients else session.from_server(message))
        session.close()

    with TrajectoryStore(":memory:") as store:
        advisor = Advisor(Selector(store))
        asyncio.run(pass_on())
        advisor.flush()
