"""Exports: what is read back from each format, where files go, and what must never be in them."""

import gzip
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import trajstore
from trajectory_samples import EVERYTHING_USED, make_step, make_trajectory

from trajstore.errors import InvalidRecord, MissingDependency, StoreUnavailable, UsageError
from trajstore.exporting import FORMATS, export
from trajstore.exporting.places import packed
from trajstore.filters import TrajectoryFilter
from trajstore.ingest import ingest, read_trajectories
from trajstore.native_lines import from_line, to_line
from trajstore.schema import Step, Task, Trajectory
from trajstore.store import TrajectoryStore

GOLDEN = Path(__file__).parents[1] / "golden" / "native_line.jsonl"
FIRST, SECOND = EVERYTHING_USED.steps
WRITTEN = replace(
    EVERYTHING_USED,
    task=Task("Fly to Zürich", "t1", "g1", "f1", "tenant"),
    steps=(replace(FIRST, state="asked", args={"to": None}, observation="none"), replace(SECOND, kind="user")),
    metadata={"task_hidden": "a script", "steps": {"0": {}}},
    trajectory_id="one",
)
SPOKEN = Step(index=2, tool="respond", args={"content": "Which one?"}, observation="The first.", kind="message")
ASKED = Trajectory(
    task=Task("Cancel my flight.", group="g"),
    steps=(
        Step(
            index=0,
            tool="find",
            args={"user": "ada", "limit": 2},
            state="Cancel my flight.",
            observation="two",
            outcome="ok",
        ),
        Step(index=1, tool="check_phone", kind="user", state="Cancel my flight.", observation="on", outcome="ok"),
        replace(SPOKEN, state="Cancel my flight."),
        Step(index=3, tool="cancel", args={"flight": None}, state="The first.", outcome="tool_error"),
        Step(index=4, tool="look", state="a dark room", observation="a door", outcome="ok"),
    ),
    success=True,
    reward=0.75,
    judge="test",
    agent="harness|model",
    created_at=1700000000.5,
    kpis={"cost_usd": 0.5, "input_tokens": 7},
)


@pytest.fixture
def filled(store: TrajectoryStore) -> TrajectoryStore:
    store.add_many(
        [
            make_trajectory("a", source="logs", success=True),
            make_trajectory("b", source="logs", success=False),
            make_trajectory(task=Task("c", namespace="tenant"), source="ops", success=None),
        ]
    )
    return store


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def test_a_native_line_is_as_it_was_always_written(tmp_path: Path, store: TrajectoryStore):
    store.add(WRITTEN)
    assert export(store, tmp_path / "out.jsonl").written == 1
    assert (tmp_path / "out.jsonl").read_text() == GOLDEN.read_text()


def test_the_golden_line_is_read_as_the_trajectory_that_it_was():
    assert list(read_trajectories([GOLDEN])) == [WRITTEN]


def test_a_line_of_a_newer_version_is_refused_with_its_remedy():
    with pytest.raises(InvalidRecord, match="trajstore must be 1 in a line of an export, got 2: upgrade trajstore"):
        from_line(to_line(WRITTEN) | {"trajstore": 2})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": 3}, "task must be a string"),
        ({"success": "yes"}, "success must be true, false or null"),
        ({"trust": "much"}, "trust must be a number"),
        ({"kpis": {"turns": None}}, "turns must be a number, got null"),
        ({"kpis": {"turns": 10**400}}, "turns must be a number that 64-bit floats can hold"),
        ({"judge": ["llm"]}, "judge must be a string"),
        ({"judge": "nobody"}, "judge must be one of"),
        ({"metadata": []}, "metadata must be an object"),
        ({"steps": {}}, "steps must be a list"),
        ({"steps": [3]}, r"steps\[0\] must be an object"),
        ({"steps": [{"i": True, "tool": "a"}]}, "i must be a whole number"),
        ({"steps": [{"i": 0, "tool": "a", "tokens": "two"}]}, "tokens must be a whole number"),
        ({"steps": [{"i": 0, "tool": "a", "propensity": 2}]}, "propensity must lie in"),
        ({"steps": [{"i": 0, "tool": "a", "candidates": ["b"]}]}, "candidates must be an object"),
    ],
)
def test_a_damaged_field_of_an_exported_line_is_named(change: dict[str, object], says: str):
    with pytest.raises(InvalidRecord, match=says):
        from_line(to_line(WRITTEN) | change)


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_what_is_exported_and_ingested_is_the_same_store(tmp_path: Path, filled: TrajectoryStore, name: str):
    filled.add(EVERYTHING_USED)
    assert export(filled, tmp_path / name).written == 4
    with TrajectoryStore(":memory:") as other:
        assert ingest(other, [tmp_path / name]).added == 4
        assert list(other.trajectories()) == list(filled.trajectories())
        assert other.content_hashes() == filled.content_hashes()
        assert ingest(other, [tmp_path / name]).duplicates == 4


def test_an_export_can_be_taken_into_another_namespace_of_the_same_store(tmp_path: Path, filled: TrajectoryStore):
    export(filled, tmp_path / "out.jsonl", where=TrajectoryFilter(namespace="default"))
    for added in (2, 0):
        report = ingest(filled, [tmp_path / "out.jsonl"], namespace="copy")
        assert (report.added, report.rejected) == (added, ())
    assert not set(filled.ids("copy")) & set(filled.ids("default"))


def test_options_that_change_nothing_leave_the_ids(tmp_path: Path, filled: TrajectoryStore):
    export(filled, tmp_path / "out.jsonl", where=TrajectoryFilter(namespace="default"))
    with TrajectoryStore(":memory:") as other:
        ingest(other, [tmp_path / "out.jsonl"], namespace="default", source="logs")
        assert other.ids("default") == filled.ids("default")


def test_an_export_is_known_by_its_beginning_however_long_its_first_line(tmp_path: Path, store: TrajectoryStore):
    store.add(make_trajectory("long", steps=(make_step(observation="a b " * 600_000),)))
    store.add(make_trajectory("short"))
    export(store, tmp_path / "out.jsonl")
    with TrajectoryStore(":memory:") as other:
        assert ingest(other, [tmp_path / "out.jsonl"]).added == 2


def test_what_was_hidden_is_not_hidden_twice(tmp_path: Path, store: TrajectoryStore):
    args = {"password": "hunter2-hunter2", "to": "ann@mail.org", "pin": {"access_token": 12345678}}
    store.add(make_trajectory("mail ann@mail.org", metadata={"api_key": "k"}))
    store.add(make_trajectory("log in", steps=(make_step(args=args, observation="sent to ann@mail.org"),)))
    export(store, tmp_path / "out.jsonl")
    text = (tmp_path / "out.jsonl").read_text()
    assert "ann@mail.org" not in text
    assert "hunter2" not in text
    with TrajectoryStore(":memory:") as other:
        assert other.redactor != store.redactor
        ingest(other, [tmp_path / "out.jsonl"])
        assert list(other.trajectories()) == list(store.trajectories())


def test_neither_the_key_nor_what_was_learned_is_exported(tmp_path: Path, filled: TrajectoryStore):
    assert filled.redactor is not None
    filled.put_artifact("model", "key", b"what was learned")
    for form in FORMATS:
        export(filled, tmp_path / form, format=form)
        content = (tmp_path / form).read_bytes()
        assert filled.redactor.key not in content
        assert filled.redactor.key.hex().encode() not in content
        assert b"what was learned" not in content


@pytest.mark.parametrize("form", ["atif", "trl", "verl"])
def test_a_hidden_script_leaves_in_the_native_format_alone(tmp_path: Path, store: TrajectoryStore, form: str):
    store.add(WRITTEN)
    export(store, tmp_path / "out.jsonl", format=form)
    assert "a script" not in (tmp_path / "out.jsonl").read_text()


def test_only_what_is_chosen_is_written(tmp_path: Path, filled: TrajectoryStore):
    chosen = {
        "bc": TrajectoryFilter(),
        "b": TrajectoryFilter(success=False),
        "a": TrajectoryFilter(source="logs", success=True),
        "c": TrajectoryFilter(namespace="tenant"),
        "": TrajectoryFilter(source="nobody"),
    }
    filled.remove(filled.ids("default")[0])
    filled.add(make_trajectory("a", source="logs", success=True, trajectory_id="again"))
    chosen["bca"] = chosen.pop("bc")
    for texts, where in chosen.items():
        path = tmp_path / f"{texts or 'none'}.jsonl"
        assert export(filled, path, where=where).written == len(texts)
        assert [row["task"] for row in rows(path)] == list(texts)


def test_ids_choose_as_well(tmp_path: Path, filled: TrajectoryStore):
    first, second = filled.ids("default")
    assert export(filled, tmp_path / "one", where=TrajectoryFilter(ids=(second, "nowhere"))).written == 1
    assert export(filled, tmp_path / "none", where=TrajectoryFilter(ids=(first,), success=False)).written == 0
    assert [row["task"] for row in rows(tmp_path / "one")] == ["b"]


def test_an_atif_document_is_read_with_its_steps_and_their_end(tmp_path: Path, store: TrajectoryStore):
    store.add(ASKED)
    export(store, tmp_path / "out.jsonl", format="atif")
    (read,) = read_trajectories([tmp_path / "out.jsonl"])
    assert isinstance(read, Trajectory)
    assert read.steps == ASKED.steps
    kept = ("task", "success", "reward", "judge", "agent", "created_at", "kpis")
    assert [getattr(read, name) for name in kept] == [getattr(ASKED, name) for name in kept]


def test_an_atif_document_has_the_shape_of_the_standard(tmp_path: Path, store: TrajectoryStore):
    store.add(ASKED)
    export(store, tmp_path / "out.jsonl", format="atif")
    (document,) = rows(tmp_path / "out.jsonl")
    steps = document["steps"]
    assert document["schema_version"] == "ATIF-v1.8"
    assert [step["step_id"] for step in steps] == list(range(1, len(steps) + 1))
    assert document["agent"] == {"name": "harness", "version": "unknown", "model_name": "model"}
    assert document["final_metrics"] == {"total_cost_usd": 0.5, "total_prompt_tokens": 7, "total_steps": len(steps)}
    for step in steps:
        made = [call["tool_call_id"] for call in step.get("tool_calls", [])]
        back = [result["source_call_id"] for result in step.get("observation", {}).get("results", [])]
        assert made == back


def test_a_trl_row_is_a_prompt_and_its_completion_with_calls(tmp_path: Path, store: TrajectoryStore):
    store.add(replace(ASKED, trajectory_id="id"))
    export(store, tmp_path / "out.jsonl", format="trl")
    (row,) = rows(tmp_path / "out.jsonl")
    assert row["prompt"] == [{"role": "user", "content": "Cancel my flight."}]
    assert [(message["role"], message["content"]) for message in row["completion"]] == [
        ("assistant", ""),
        ("tool", "two"),
        ("assistant", "Which one?"),
        ("user", "The first."),
        ("assistant", ""),
        ("tool", ""),
        ("user", "a dark room"),
        ("assistant", ""),
        ("tool", "a door"),
    ]
    function = {"name": "find", "arguments": {"user": "ada", "limit": 2}}
    assert row["completion"][0]["tool_calls"] == [{"id": "call_0", "type": "function", "function": function}]
    assert [tool["function"]["name"] for tool in row["tools"]] == ["find", "cancel", "look"]
    properties = row["tools"][0]["function"]["parameters"]["properties"]
    assert properties == {"user": {"type": "string"}, "limit": {"type": "integer"}}
    assert (row["reward"], row["label"], row["group"], row["trajectory_id"]) == (0.75, True, "g", "id")


def test_verl_rows_have_the_columns_of_its_datasets_and_number_their_order(tmp_path: Path, filled: TrajectoryStore):
    export(filled, tmp_path / "out.jsonl", format="verl")
    found = rows(tmp_path / "out.jsonl")
    columns = {"data_source", "prompt", "ability", "reward_model", "extra_info"}
    assert all(row.keys() == columns for row in found)
    assert [row["extra_info"]["index"] for row in found] == [0, 1, 2]
    assert [row["prompt"][0]["content"] for row in found] == ["a", "b", "c"]
    assert [row["data_source"] for row in found] == ["logs", "logs", "ops"]
    calls = [{"name": "search", "arguments": {"query": "q0"}}, {"name": "book", "arguments": {"query": "q1"}}]
    truths = [row["reward_model"]["ground_truth"] for row in found]
    assert (json.loads(truths[0]), truths[1:]) == (calls, ["", ""])
    types = [[(name, type(value)) for name, value in row["extra_info"].items()] for row in found]
    assert types[0] == types[1] == types[2], "a column of Parquet has one type"


def test_verl_rows_in_parquet_are_those_of_json(tmp_path: Path, store: TrajectoryStore):
    parquet = pytest.importorskip("pyarrow.parquet")
    store.add_many([ASKED, *(make_trajectory(f"task {at}", success=None) for at in range(250))])
    assert export(store, tmp_path / "out.parquet", format="verl").written == 251
    export(store, tmp_path / "out.jsonl", format="verl")
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist() == rows(tmp_path / "out.jsonl")
    assert parquet.ParquetFile(tmp_path / "out.parquet").num_row_groups == 2


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_parquet_without_its_package_names_what_to_install(tmp_path: Path, filled: TrajectoryStore):
    with pytest.raises(MissingDependency, match="pip install pyarrow, or give a name in"):
        export(filled, tmp_path / "out.parquet", format="verl")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["native", "atif", "trl"])
def test_parquet_is_for_rows_of_one_shape(tmp_path: Path, filled: TrajectoryStore, form: str):
    with pytest.raises(UsageError, match="only verl has rows that fit into"):
        export(filled, tmp_path / "out.parquet", format=form)


@pytest.mark.parametrize("form", ["trl", "verl"])
def test_groups_and_rewards_are_kept_for_trainers(tmp_path: Path, store: TrajectoryStore, form: str):
    attempts = [("g", True, None), ("g", False, None), ("", None, 0.25), ("", None, None)]
    store.add_many(
        make_trajectory(task=Task(f"task {at}", group=group), success=success, reward=reward)
        for at, (group, success, reward) in enumerate(attempts)
    )
    export(store, tmp_path / "out.jsonl", format=form)
    found = [row if form == "trl" else row["extra_info"] for row in rows(tmp_path / "out.jsonl")]
    assert [row["group"] for row in found] == ["g", "g", "task 2", "task 3"]
    assert [row["reward"] for row in found] == [1.0, 0.0, 0.25, None if form == "trl" else 0.0]


def test_a_block_that_packs_too_well_is_packed_less():
    block = bytes(1 << 20)
    assert gzip.decompress(packed(block)) == block
    assert len(block) < 100 * len(packed(block)) < 100 * len(block)


def test_an_export_of_the_same_letters_over_and_over_is_read_back(tmp_path: Path, store: TrajectoryStore):
    long = make_trajectory("a", steps=(make_step(observation="a" * 6_000_000),))
    store.add(long)
    export(store, tmp_path / "out.jsonl.gz")
    assert (tmp_path / "out.jsonl.gz").stat().st_size < 2_000_000
    (read,) = read_trajectories([tmp_path / "out.jsonl.gz"])
    assert isinstance(read, Trajectory)
    assert read.steps == long.steps


def test_a_file_is_replaced_only_when_asked(tmp_path: Path, filled: TrajectoryStore):
    path = tmp_path / "out.jsonl"
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists already; give another path, or --force to replace it"):
        export(filled, path)
    assert path.read_text() == "mine"
    assert export(filled, path, overwriting=True).written == 3
    assert len(rows(path)) == 3


def test_a_place_that_is_no_file_is_refused(tmp_path: Path, filled: TrajectoryStore):
    with pytest.raises(UsageError, match="is no regular file"):
        export(filled, tmp_path, overwriting=True)
    with pytest.raises(StoreUnavailable, match="there is no folder"):
        export(filled, tmp_path / "nowhere" / "out.jsonl")
    with pytest.raises(UsageError, match="format must be one of native, atif, trl, verl, got 'csv'"):
        export(filled, tmp_path / "out.csv", format="csv")
    assert list(tmp_path.iterdir()) == []


def test_the_store_itself_is_never_overwritten(store_path: Path):
    with TrajectoryStore(store_path) as store:
        store.add(make_trajectory())
        with pytest.raises(UsageError, match="is the store itself"):
            export(store, store_path, overwriting=True)
        assert store.stats().trajectories == 1


def test_progress_reaches_the_number_of_what_is_stored(tmp_path: Path, filled: TrajectoryStore):
    told: list[tuple[int, int]] = []
    export(filled, tmp_path / "out", where=TrajectoryFilter(success=True), progress=lambda *at: told.append(at))
    assert told[-1] == (3, 3)


def test_the_command_says_how_many_it_wrote(tmp_path: Path, store_path: Path):
    with TrajectoryStore(store_path) as store:
        store.add_many([make_trajectory("a"), make_trajectory("b", success=False)])
    out = tmp_path / "out.jsonl"
    ran = trajstore("export", out, "--db", store_path, "--json")
    assert (ran.exit_code, ran.data, ran.stderr) == (0, {"written": 2}, "")
    assert trajstore("export", out, "--db", store_path, "--failure", "--force").stdout.split() == ["written", "1"]
    assert [row["task"] for row in rows(out)] == ["b"]


def test_stdout_gets_the_lines_and_nothing_else(store_path: Path):
    with TrajectoryStore(store_path) as store:
        store.add_many([make_trajectory("ü\u2028"), make_trajectory("b", success=False)])
    ran = trajstore("export", "-", "--db", store_path)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.isascii()
    assert [json.loads(line)["task"] for line in ran.stdout.splitlines()] == ["ü\u2028", "b"]
    both = trajstore("export", "-", "--db", store_path, "--json")
    assert (both.exit_code, both.stdout) == (2, "")
    assert "would both write to stdout" in both.sentence
