"""Every page of docs/runtimes runs as it stands, in an empty folder; it skips where its runtime is not installed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "runtimes").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MISSING = re.compile(r"trajstore\.errors\.MissingDependency: (.*)")
SECONDS = 240


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs_as_it_stands(page: Path, tmp_path: Path):
    blocks = BLOCK.findall(page.read_text())
    assert blocks, f"{page.name} shows no code"
    (tmp_path / "page.py").write_text("\n\n".join(blocks))
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if missing := MISSING.search(done.stderr):
        pytest.skip(missing[1])
    assert done.returncode == 0, done.stderr
