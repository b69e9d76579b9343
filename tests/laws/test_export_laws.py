"""What leaves in the native format comes back as it was, whatever it is; ATIF keeps what it says that it keeps."""

import contextlib
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from postgres_server import PostgresServer
from trajectory_samples import EVERYTHING_USED, JSON_VALUES, TRAJECTORIES, make_trajectory

from trajstore.codec import content_hash
from trajstore.errors import InvalidRecord
from trajstore.exporting import FORMATS, export
from trajstore.exporting.atif import atif_document
from trajstore.exporting.chat import spoken_text
from trajstore.ingest import Rejection, ingest, read_trajectories
from trajstore.ingest.atif import READER as ATIF_READER
from trajstore.native_lines import from_line, to_line
from trajstore.schema import Step, Trajectory
from trajstore.store import TrajectoryStore

LAW = settings(deadline=None, max_examples=60)
SLOW_LAW = settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = st.sampled_from(["out.jsonl", "out.jsonl.gz"])


def moved(there: TrajectoryStore, here: TrajectoryStore, trajectories: Iterable[Trajectory], name: str) -> None:
    """Fill one store, export it into another, and see that they are the same."""
    there.add_many(trajectories)
    with tempfile.TemporaryDirectory() as folder:
        written = export(there, Path(folder) / name).written
        assert written == there.stats().trajectories
        report = ingest(here, [Path(folder) / name], format="native")
    stored = list(there.trajectories())
    assert [one.record for one in report.rejected] == ([] if stored else [str(Path(folder) / name)])
    assert list(here.trajectories()) == stored
    assert here.content_hashes() == there.content_hashes()
    assert here.stats() == there.stats()


@LAW
@given(st.lists(TRAJECTORIES, max_size=3), NAMES)
@example([EVERYTHING_USED], "out.jsonl")
def test_export_and_ingest_is_the_identity(trajectories: list[Trajectory], name: str):
    with TrajectoryStore(":memory:", redactor=None) as there, TrajectoryStore(":memory:", redactor=None) as here:
        moved(there, here, trajectories, name)


@pytest.mark.slow
@pytest.mark.parametrize("is_to_server", [True, False])
@SLOW_LAW
@given(trajectories=st.lists(TRAJECTORIES, min_size=1, max_size=3))
def test_export_and_ingest_is_the_identity_between_a_file_and_a_server(
    postgres_server: PostgresServer, trajectories: list[Trajectory], *, is_to_server: bool
):
    address = postgres_server.new_address()
    with TrajectoryStore(":memory:", redactor=None) as file, TrajectoryStore(address, redactor=None) as server:
        moved(*((file, server) if is_to_server else (server, file)), trajectories, "out.jsonl")


@LAW
@given(TRAJECTORIES, st.data())
def test_any_change_of_an_exported_line_gives_a_trajectory_or_a_reason(trajectory: Trajectory, data: st.DataObject):
    line = to_line(replace(trajectory, trajectory_id="one"))
    changed = data.draw(st.sampled_from([line, *line["steps"]]))
    changed[data.draw(st.sampled_from(sorted(changed)))] = data.draw(JSON_VALUES)
    with contextlib.suppress(InvalidRecord):
        assert len(content_hash(from_line(line))) == 32


def outline(trajectory: Trajectory) -> list[tuple[object, ...]]:
    """What ATIF keeps of every step."""
    return [(one.tool, one.args, one.observation, one.outcome, one.kind == "user") for one in trajectory.steps]


@LAW
@given(TRAJECTORIES)
def test_atif_keeps_tasks_steps_outcomes_success_and_reward(trajectory: Trajectory):
    read = ATIF_READER.trajectory(atif_document(trajectory))
    assert outline(read) == outline(trajectory)
    kept = ("success", "reward", "judge")
    assert [getattr(read, name) for name in kept] == [getattr(trajectory, name) for name in kept]
    task, was = read.task, trajectory.task
    assert (task.text, task.group, task.family) == (was.text, was.group, was.family)


@LAW
@given(st.lists(TRAJECTORIES, min_size=1, max_size=2), st.sampled_from(FORMATS))
def test_every_format_is_one_ascii_line_of_json_a_trajectory(trajectories: list[Trajectory], form: str):
    with TrajectoryStore(":memory:", redactor=None) as store, tempfile.TemporaryDirectory() as folder:
        store.add_many(trajectories)
        written = export(store, Path(folder) / "out", format=form).written
        text = (Path(folder) / "out").read_bytes().decode("ascii")
    assert text.count("\n") == len(text.splitlines()) == written == store_size(trajectories)


def store_size(trajectories: list[Trajectory]) -> int:
    return len({(one.task.namespace, content_hash(one)) for one in trajectories})


SPOKEN = st.builds(
    lambda text, answer: Step(index=0, tool="respond", args={"content": text}, observation=answer, kind="message"),
    st.text("ab", min_size=1, max_size=2),
    st.text("cd", max_size=2),
)
CALLED = st.builds(
    lambda tool, seen, state: Step(index=0, tool=tool, observation=seen, outcome="ok", state=state),
    st.sampled_from(["look", "respond"]),
    st.text("ef", max_size=2),
    st.text("cg", max_size=2),
)


@LAW
@given(st.text("t", max_size=1), st.lists(SPOKEN | CALLED, max_size=6))
def test_atif_keeps_conversations_in_which_words_and_calls_alternate(text: str, steps: list[Step]):
    numbered = tuple(replace(step, index=at) for at, step in enumerate(steps))
    trajectory = make_trajectory(text, steps=numbered)
    read = ATIF_READER.trajectory(atif_document(trajectory))
    assert outline(read) == outline(trajectory)
    assert read.task.text == text
    states = [(was.state, step.state) for was, step in zip(numbered, read.steps, strict=True)]
    assert all(was in ("", state) for was, state in states)
    if text:
        assert [spoken_text(step) for step in read.steps] == [spoken_text(step) for step in numbered]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tau1", "bfcl"])
def test_real_logs_are_the_same_after_every_round(shared_data: Path, tmp_path: Path, name: str):
    with TrajectoryStore(":memory:") as there, TrajectoryStore(":memory:") as here:
        ingest(there, [shared_data / f"{name}.jsonl.gz"])
        assert export(there, tmp_path / "out.jsonl.gz").written == there.stats().trajectories
        assert ingest(here, [tmp_path / "out.jsonl.gz"]).rejected == ()
        assert here.content_hashes() == there.content_hashes()
        export(there, tmp_path / "atif.jsonl", format="atif")
        again = list(read_trajectories([tmp_path / "atif.jsonl"]))
        assert not [one for one in again if isinstance(one, Rejection)]
        assert [outline(one) for one in again] == [outline(one) for one in there.trajectories()]
