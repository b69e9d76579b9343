"""Fuzzed input for every reader: whatever the bytes, it ends in trajectories that can be stored, or in sentences."""

import gzip
import json
import random
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from ingest_samples import SAMPLES

from trajstore.errors import InvalidRecord, UsageError
from trajstore.ingest import FORMATS, Rejection, read_trajectories
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

QUICK, SLOW = 50, 13_000
TEXTS = {form: json.dumps(sample, ensure_ascii=False) for form, sample in SAMPLES.items()}
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, -0.0, 10**30, "", "\x00", "\ud800", "9" * 400, "x" * 5000, [], {}, [[]], {"": None},
    [None] * 50, {"role": "tool"}, {"name": 3}, '{"a": ', "NaN", "2024-99-99T99:99:99Z", "\N{RIGHT-TO-LEFT OVERRIDE}",
    {"type": "function"},
)  # fmt: skip
PIECES = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b":",
    b"\\",
    b"\n",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"NaN",
    b"1e999",
    b"-",
    b"[" * 500,
)


def containers(value: Any) -> list[Any]:
    """Every list and object in a value that has something in it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return ([value] if value and isinstance(value, dict | list) else []) + [
        one for part in inner for one in containers(part)
    ]


def change_value(text: str, rng: random.Random) -> bytes:
    """Put something odd in the place of up to three values, drop or double them."""
    value = deepcopy(json.loads(text))
    for _ in range(rng.randint(1, 3)):
        place = rng.choice(containers(value) or [[0]])
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        action = rng.random()
        if action < 0.2:
            del place[key]
        elif action < 0.3 and isinstance(place, list):
            place.append(deepcopy(place[key]))
        else:
            place[key] = deepcopy(rng.choice(ODD))
    return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def change_bytes(text: str, rng: random.Random) -> bytes:
    """Cut, splice and overwrite anywhere."""
    content = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(content) + 1)
        action = rng.random()
        if action < 0.3:
            content[at : at + rng.randint(1, 40)] = b""
        elif action < 0.6:
            content[at:at] = rng.choice(PIECES)
        elif action < 0.8:
            content[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
        else:
            del content[at:]
    return bytes(content)


def repeat_lines(text: str, rng: random.Random) -> bytes:
    """Several records a file, some of them changed, in one of several encodings, perhaps packed and cut."""
    lines = [rng.choice((change_value, change_bytes))(text, rng) for _ in range(rng.randint(1, 3))]
    content = rng.choice((b"\n", b"\r\n", b"\n\n", b"\xc2\x85")).join([text.encode("utf-8", "surrogatepass"), *lines])
    if rng.random() < 0.5:
        content = gzip.compress(content, 1)
    return content[: rng.randrange(len(content))] if rng.random() < 0.3 else content


CHANGES: tuple[Callable[[str, random.Random], bytes], ...] = (change_value, change_bytes, repeat_lines)


def read_all(store: TrajectoryStore, path: Path, content: bytes, form: str) -> None:
    """Read, and store what was read: nothing but this project's own errors, each with a sentence, may come of it."""
    path.write_bytes(content)
    with suppress(UsageError):
        for found in read_trajectories([path], format=form):
            if isinstance(found, Rejection):
                assert found.record
                assert 0 < len(found.reason) <= 300
                continue
            assert isinstance(found, Trajectory)
            with suppress(InvalidRecord):
                assert len(store.get(store.add(found)).steps) == len(found.steps)


def fuzz(store: TrajectoryStore, path: Path, form: str, numbers: st.SearchStrategy[int], examples: int) -> None:
    """Change the sample of a format by as many seeds; half of the inputs are read without being told their format."""

    @seed(0)
    @settings(
        max_examples=examples,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(numbers, st.sampled_from(CHANGES), st.booleans())
    def any_change_is_survived(number: int, change: Callable[[str, random.Random], bytes], is_named: bool) -> None:  # noqa: FBT001
        read_all(store, path, change(TEXTS[form], random.Random(f"{form} {number}")), form if is_named else "auto")

    any_change_is_survived()


@pytest.mark.parametrize("form", SAMPLES)
def test_any_change_of_a_file_ends_in_records_or_sentences(store: TrajectoryStore, tmp_path: Path, form: str):
    fuzz(store, tmp_path / "log.json", form, st.integers(0, 2**32), QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("form", SAMPLES)
def test_thousands_of_changes_of_a_file_end_in_records_or_sentences(store: TrajectoryStore, tmp_path: Path, form: str):
    fuzz(store, tmp_path / "log.json", form, st.integers(0, 2**32), SLOW)


@pytest.mark.parametrize("form", sorted(set(FORMATS) - {"auto"}))
def test_a_sample_in_the_name_of_another_format_is_survived(store: TrajectoryStore, tmp_path: Path, form: str):
    for text in TEXTS.values():
        read_all(store, tmp_path / "log.json", text.encode("utf-8", "surrogatepass"), form)
