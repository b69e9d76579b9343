"""An adapter whose runtime is not installed says in one sentence how to install it."""

import subprocess
import sys

import pytest

RUNTIMES = [
    ("selector.adapters.pydantic_ai", "pydantic_ai", "pydantic-ai"),
    ("selector.adapters.smolagents", "smolagents", "smolagents"),
    ("selector.adapters.agent_framework", "agent_framework", "agent-framework"),
    ("selector.adapters.google_adk", "google.adk", "google-adk"),
]


@pytest.mark.parametrize(("adapter", "package", "extra"), RUNTIMES)
def test_without_its_extra_an_adapter_says_how_to_install_it(adapter: str, package: str, extra: str):
    code = f"import sys; sys.modules[{package!r}] = None; import {adapter}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"is not installed; install it: pip install 'trajstore[{extra}]'" in done.stderr.splitlines()[-1]
