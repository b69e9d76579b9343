"""Addresses of stores on a server: postgresql://user@host:5432/database?schema=name, shown without any password."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode

SCHEMES = ("postgresql://", "postgres://")
DEFAULT_SCHEMA = "trajstore"
SECRETS = frozenset({"password", "sslpassword"})
PLACES = ("user", "host", "port", "dbname")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """An address in two parts: what the PostgreSQL library reads, and the schema that holds the store's tables."""

    connection: str
    schema: str


def is_on_server(path: str) -> bool:
    """Whether a path is the address of a store on a server.

    >>> is_on_server("postgresql://me@host/db"), is_on_server("agent.db")
    (True, False)
    """
    return path.startswith(SCHEMES)


def split_address(address: str) -> ServerAddress:
    """Take our own parameter `schema` out of an address.

    >>> split_address("postgresql://me@host/db?schema=team&sslmode=require")
    ServerAddress(connection='postgresql://me@host/db?sslmode=require', schema='team')
    """
    body, _, query = address.partition("?")
    pairs = [pair for pair in query.split("&") if pair]
    named = [unquote(pair.partition("=")[2]) for pair in pairs if pair.startswith("schema=")]
    others = "&".join(pair for pair in pairs if not pair.startswith("schema="))
    return ServerAddress(body + (f"?{others}" if others else ""), named[-1] if named else DEFAULT_SCHEMA)


def public_address(parameters: Mapping[str, str], schema: str) -> str:
    """The address of what connection parameters name, without their secrets; it opens the same store.

    >>> public_address({"user": "me", "password": "x", "host": "db.example", "dbname": "agents"}, "trajstore")
    'postgresql://me@db.example/agents'
    """
    shown = {name: value for name, value in parameters.items() if name not in SECRETS}
    user, host, port, dbname = (shown.pop(name, "") for name in PLACES)
    if "/" in host or "," in host or ":" in host:  # sockets, several hosts and IPv6 have no plain place
        shown |= {name: value for name, value in (("host", host), ("port", port)) if value}
        host = port = ""
    if schema != DEFAULT_SCHEMA:
        shown["schema"] = schema
    place = (f"{quote(user, safe='')}@" if user else "") + host + (f":{port}" if port else "")
    query = f"?{urlencode(shown, quote_via=quote, safe='/')}" if shown else ""
    return f"postgresql://{place}/{quote(dbname, safe='')}{query}"
