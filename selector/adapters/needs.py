"""The one sentence for an extra that is not installed."""

from trajstore.errors import MissingDependency


def needs(extra: str, package: str) -> MissingDependency:
    """The error to raise where `package` cannot be imported.

    >>> str(needs("langchain", "LangChain"))
    "LangChain is not installed; install it: pip install 'trajstore[langchain]'"
    """
    return MissingDependency(f"{package} is not installed; install it: pip install 'trajstore[{extra}]'")
