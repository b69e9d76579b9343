"""The service over HTTP: who is let in, what each method answers, and what a restart leaves."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trajectory_samples import JSON_VALUES

from grpo.config import GRPOConfig
from grpo.errors import TrainingFailed, TrainingUsageError
from grpo.job_methods import require_settings, training_methods
from grpo.job_table import JobTable
from grpo.jobs import JobProgress, JobResult, job_folder
from grpo.serve_command import serve as serve_command
from grpo.serving import Access, ServeSettings, make_app, serve
from trajstore.database import Database
from trajstore.errors import StoreUnavailable
from trajstore.store import TrajectoryStore

TOKEN = "a-token-of-the-tests"
PATIENCE_SECONDS = 60.0
NATIVE = {"task": "find it", "success": True, "steps": [{"tool": "search"}]}
COUNT_JOB = """
    import os, sys, time
    from grpo.job_process import main
    from grpo.jobs import JobProgress, JobResult

    def count(job, report):
        place = job.folder / "place"
        done = int(place.read_text()) if place.exists() else 0
        while done < job.config["updates"]:
            done += 1
            with (job.folder / "who").open("a") as file:
                file.write(f"{os.getpid()} {done}\\n")
            (job.folder / "new").write_text(str(done))
            (job.folder / "new").replace(place)
            if not report(JobProgress(done / job.config["updates"], {"update": done}, f"update-{done}")):
                break
            time.sleep(0.01)
            while done == job.config.get("patience") and not (job.folder / "go").exists():
                time.sleep(0.02)
        return JobResult({"update": done}, f"update-{done}")

    sys.exit(main(runner=count))
"""
SERVICE = """
    import sys
    from grpo.serving import ServeSettings, serve
    from trajstore.database import Database

    settings = ServeSettings(port=0, lease_seconds=2.0, command=[sys.executable, sys.argv[2]])
    serve(Database(sys.argv[1]), settings, lambda url: print(url, flush=True))
"""


@pytest.fixture
def jobs(store_path: Path) -> Iterator[JobTable]:
    database = Database(store_path)
    yield JobTable(database, queue_limit=2)
    database.close()


class Client:
    """Asks an application, without a network between."""

    def __init__(self, jobs: JobTable, **access: Any) -> None:
        self.woken = 0
        dispatcher = training_methods(jobs, self.wake)
        app = make_app(dispatcher.respond, Access(**access), body_bytes=4096)
        transport = httpx2.ASGITransport(app)
        self.http = httpx2.AsyncClient(transport=transport, base_url="http://localhost:8765")

    def wake(self) -> None:
        self.woken += 1

    async def post(self, content: bytes = b"{}", **headers: str) -> httpx2.Response:
        named = {"content-type": "application/json"} | {key.replace("_", "-"): text for key, text in headers.items()}
        return await self.http.post("/rpc", content=content, headers=named)

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        body = {"jsonrpc": "2.0", "method": f"training.{method}", "params": params, "id": 1}
        answer = await self.post(json.dumps(body).encode())
        assert answer.status_code == 200
        return answer.json()

    async def code(self, method: str, **params: Any) -> int:
        return (await self.ask(method, **params))["error"]["code"]

    async def result(self, method: str, **params: Any) -> Any:
        return (await self.ask(method, **params))["result"]


@pytest.fixture
def client(jobs: JobTable) -> Client:
    return Client(jobs)


async def test_a_job_is_started_under_an_id_and_the_supervisor_is_woken(client: Client, jobs: JobTable):
    result = await client.result("start_grpo", agent_id="agent", config={"updates": 3})
    assert list(result) == ["training_job_id"]
    assert jobs.get(result["training_job_id"]).status == "queued"
    assert client.woken == 1


async def test_what_a_request_sets_is_what_the_job_gets_and_nothing_more(client: Client, jobs: JobTable):
    await client.result("start_grpo", agent_id="a", config={"seed": 7, "learning_rate": 0.01}, training_data=[NATIVE])
    job = jobs.load(jobs.claim())
    assert dict(job.config) == {"seed": 7, "learning_rate": 0.01}
    assert [one.task.text for one in job.training_data] == ["find it"]


def test_a_request_can_set_whatever_the_trainer_knows():
    require_settings(asdict(GRPOConfig()))


@given(st.dictionaries(st.sampled_from([field.name for field in fields(GRPOConfig)]), JSON_VALUES, max_size=3))
def test_settings_of_any_kind_are_taken_or_refused_in_a_sentence(config: dict[str, Any]):
    reason = refusal_of(config)
    assert any(name in reason for name in config) if reason else GRPOConfig(**config)


def refusal_of(config: dict[str, Any]) -> str:
    """Why settings are refused; empty where they are taken."""
    try:
        require_settings(config)
    except TrainingUsageError as error:
        return str(error)
    return ""


async def test_the_status_follows_a_job_from_its_start_to_its_end(client: Client, jobs: JobTable):
    job_id = (await client.result("start_grpo", agent_id="a", config={}))["training_job_id"]
    keys = ("job_id", "status", "progress", "metrics", "best_checkpoint")

    async def status() -> list[Any]:
        found = await client.result("get_status", job_id=job_id)
        return [found[key] for key in keys]

    assert await status() == [job_id, "queued", 0.0, {}, None]
    claim = jobs.claim()
    assert await status() == [job_id, "running", 0.0, {}, None]
    jobs.report(claim, [JobProgress(0.5, {"loss": 1.0, "kl": float("nan")}, "update-5")])
    assert await status() == [job_id, "running", 0.5, {"loss": 1.0, "kl": None}, "update-5"]
    jobs.finish(claim, "succeeded", JobResult({"success": 1.0}, "update-9"))
    assert await status() == [job_id, "succeeded", 1.0, {"success": 1.0}, "update-9"]


async def test_jobs_are_listed_newest_first_and_by_status(client: Client, jobs: JobTable):
    ids = [(await client.result("start_grpo", agent_id=name, config={}))["training_job_id"] for name in "ab"]
    assert [job["job_id"] for job in (await client.result("list"))["jobs"]] == ids[::-1]
    assert [job["agent_id"] for job in (await client.result("list", limit=1))["jobs"]] == ["b"]
    jobs.claim()
    assert [job["job_id"] for job in (await client.result("list", status="running"))["jobs"]] == ids[:1]


async def test_metrics_are_asked_on_from_the_last_that_came(client: Client, jobs: JobTable):
    job_id = (await client.result("start_grpo", agent_id="a", config={}))["training_job_id"]
    jobs.report(jobs.claim(), [JobProgress(number / 10.0, {"update": number}) for number in range(5)])
    first = await client.result("get_metrics", job_id=job_id, limit=2)
    rest = await client.result("get_metrics", job_id=job_id, after=first["last"])
    assert [row["metrics"]["update"] for row in first["metrics"] + rest["metrics"]] == [0, 1, 2, 3, 4]
    assert await client.result("get_metrics", job_id=job_id, after=rest["last"]) == {
        "job_id": job_id,
        "metrics": [],
        "last": rest["last"],
    }


async def test_cancelling_answers_where_the_job_stands(client: Client):
    job_id = (await client.result("start_grpo", agent_id="a", config={}))["training_job_id"]
    assert (await client.result("cancel", job_id=job_id))["status"] == "cancelled"
    assert (await client.result("cancel", job_id=job_id))["status"] == "cancelled"


@pytest.mark.parametrize("method", ["get_status", "cancel", "get_metrics"])
async def test_an_unknown_job_has_a_code_of_its_own(client: Client, method: str):
    assert await client.code(method, job_id="none") == -32000


async def test_a_full_queue_has_a_code_of_its_own(client: Client):
    for _ in range(2):
        await client.result("start_grpo", agent_id="a", config={})
    assert await client.code("start_grpo", agent_id="a", config={}) == -32001


async def test_a_request_that_is_repeated_under_its_key_starts_one_job(client: Client):
    start = {"agent_id": "a", "config": {}, "idempotency_key": "k"}
    assert await client.result("start_grpo", **start) == await client.result("start_grpo", **start)
    assert await client.code("start_grpo", **start | {"agent_id": "b"}) == -32003


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({}, "agent_id"),
        ({"agent_id": "a"}, "config"),
        ({"agent_id": "", "config": {}}, "$.agent_id"),
        ({"agent_id": "a", "config": {"updates": 0}}, "updates must be 1 or more"),
        ({"agent_id": "a", "config": {"updates": "9"}}, "updates"),
        ({"agent_id": "a", "config": {"learning_rate": -1.0}}, "learning_rate must lie in [0, 1000000]"),
        ({"agent_id": "a", "config": {"cap": 10**400}}, "cap must lie in"),
        ({"agent_id": "a", "config": {"seed": -1}}, "seed must lie in"),
        ({"agent_id": "a", "config": {"model": "../weights"}}, "no setting 'model'"),
        ({"agent_id": "a", "config": {"device": "/dev/sda"}}, "device must be auto, cpu"),
        ({"agent_id": "a", "config": {"groups": 10_000_000}}, "groups must lie in [0, 1000000]"),
        ({"agent_id": "a", "config": ["seed"]}, "$.config"),
        ({"agent_id": "a", "config": {"loss": "os.system"}}, "loss"),
        ({"agent_id": "a", "config": {}, "runner": "os.system"}, "unknown field `runner`"),
        ({"agent_id": "a", "config": {}, "training_data": "/etc/passwd"}, "$.training_data"),
        ({"agent_id": "a", "config": {}, "training_data": ["/etc/passwd"]}, "$.training_data[0]"),
        ({"agent_id": "a", "config": {}, "training_data": []}, "$.training_data"),
        ({"agent_id": "a", "config": {}, "training_data": [{"steps": 1}]}, "training_data[0] is no trajectory"),
    ],
)
async def test_bad_params_are_refused_by_name_and_start_nothing(
    client: Client, jobs: JobTable, params: dict[str, Any], named: str
):
    error = (await client.ask("start_grpo", **params))["error"]
    assert error["code"] == -32602
    assert named in error["message"]
    assert jobs.jobs() == []


@pytest.mark.parametrize(
    ("method", "params"),
    [("list", {"status": "done"}), ("list", {"limit": 0}), ("get_metrics", {"job_id": "a", "after": -1})],
)
async def test_params_of_the_other_methods_are_checked_too(client: Client, method: str, params: dict[str, Any]):
    assert await client.code(method, **params) == -32602


async def test_a_notification_starts_no_job_and_has_no_answer(client: Client, jobs: JobTable):
    body = {"jsonrpc": "2.0", "method": "training.start_grpo", "params": {"agent_id": "a", "config": {}}}
    answer = await client.post(json.dumps(body).encode())
    assert (answer.status_code, answer.content) == (204, b"")
    assert jobs.jobs() == []


async def test_a_batch_is_answered_at_once(client: Client):
    ask = {"jsonrpc": "2.0", "method": "training.list"}
    answer = await client.post(json.dumps([ask | {"id": 1}, ask, ask | {"id": 2}]).encode())
    assert [one["id"] for one in answer.json()] == [1, 2]


async def test_a_store_that_fails_is_no_business_of_the_client(client: Client, jobs: JobTable, store_path: Path):
    jobs._database.close()
    error = (await client.ask("list"))["error"]
    assert error["code"] == -32603
    assert str(store_path) not in error["message"]


async def test_without_the_token_nobody_is_let_in(jobs: JobTable):
    client = Client(jobs, token=TOKEN)
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
    ):
        answer = await client.post(**headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, -32002)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert (await client.post(authorization=f"Bearer {TOKEN}")).status_code == 200


async def test_access_is_decided_before_the_body_is_read(jobs: JobTable):
    async def body() -> Any:
        raise AssertionError("the body was read")
        yield b""

    client = Client(jobs, token=TOKEN)
    assert (await client.http.post("/rpc", content=body())).status_code == 401


@pytest.mark.parametrize("path", ["/", "/rpc", "/anything"])
async def test_every_route_is_behind_the_token(jobs: JobTable, path: str):
    assert (await Client(jobs, token=TOKEN).http.get(path)).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "10.0.0.1"])
async def test_on_a_loopback_address_another_host_name_is_refused(client: Client, host: str):
    answer = await client.post(host=host)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, -32002)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8765", "127.0.0.2", "[::1]:8765"])
async def test_on_a_loopback_address_its_own_names_are_let_in(client: Client, host: str):
    assert (await client.post(host=host)).status_code == 200


async def test_elsewhere_any_host_name_is_let_in_with_the_token(jobs: JobTable):
    client = Client(jobs, token=TOKEN, is_loopback=False)
    assert (await client.post(host="trainer.example", authorization=f"Bearer {TOKEN}")).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
async def test_pages_of_other_origins_are_refused(client: Client, origin: str):
    assert (await client.post(origin=origin)).status_code == 403
    assert (await client.post(origin="http://localhost:8765")).status_code == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_what_a_form_of_a_web_page_can_send_is_refused(client: Client, media_type: str):
    assert (await client.post(content_type=media_type)).status_code == 415
    assert (await client.post(content_type="application/json; charset=utf-8")).status_code == 200


async def test_a_body_beyond_the_limit_is_refused_announced_or_not(client: Client):
    async def drip() -> Any:
        for _ in range(5):
            yield b" " * 1024

    headers = {"content-type": "application/json"}
    assert (await client.post(b" " * 4097)).status_code == 413
    assert (await client.http.post("/rpc", content=drip(), headers=headers)).status_code == 413
    assert (await client.post(b" " * 4096)).json()["error"]["code"] == -32700


async def test_only_posts_are_answered(client: Client):
    assert (await client.http.get("/rpc")).status_code == 405


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_a_host_that_others_reach_needs_a_token(host: str):
    with pytest.raises(TrainingUsageError, match="there is no token: set TRAJSTORE_TOKEN"):
        ServeSettings(host=host)
    assert ServeSettings(host=host, token=TOKEN)


@pytest.mark.parametrize("token", ["short", "ein Schlüssel von Länge"])
def test_a_weak_token_is_refused(token: str):
    with pytest.raises(TrainingUsageError, match="a token must be 16 ASCII characters or more"):
        ServeSettings(token=token)


def test_a_port_that_is_taken_is_told(store_path: Path):
    database = Database(store_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TrainingFailed, match=f"127.0.0.1:{port} cannot be listened at"):
            serve(database, ServeSettings(port=port), print)
    database.close()


def test_the_command_asks_for_a_token_and_for_a_store_before_it_listens(store_path: Path):
    with pytest.raises(TrainingUsageError, match="there is no token"):
        serve_command(db=str(store_path), host="0.0.0.0", port=0, token="", jobs=1)
    with pytest.raises(StoreUnavailable, match="there is no database"):
        serve_command(db=str(store_path), host="127.0.0.1", port=0, token="", jobs=1)
    assert not store_path.exists()


@contextmanager
def service(store_path: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service of its own process, and its address; it is killed at the end."""
    for name, text in (("count_job.py", COUNT_JOB), ("service.py", SERVICE)):
        (folder / name).write_text(textwrap.dedent(text))
    words = [sys.executable, str(folder / "service.py"), str(store_path), str(folder / "count_job.py")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def ask(url: str, method: str, **params: Any) -> Any:
    body = {"jsonrpc": "2.0", "method": f"training.{method}", "params": params, "id": 1}
    with httpx2.Client(trust_env=False) as http:
        return http.post(url, json=body, timeout=PATIENCE_SECONDS).json()["result"]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def workers(store_path: Path, job_id: str) -> list[int]:
    """The processes that worked on a job, in order, once each."""
    lines = (job_folder(str(store_path), job_id) / "who").read_text().splitlines()
    return list(dict.fromkeys(int(line.split()[0]) for line in lines))


def start_held(url: str, store_path: Path) -> str:
    """Start a job of six updates, which stays at the third until it is let go."""
    job_id = ask(url, "start_grpo", agent_id="a", config={"updates": 6, "patience": 3})["training_job_id"]
    place = job_folder(str(store_path), job_id) / "place"
    wait_for(lambda: place.exists() and place.read_text() == "3")
    return job_id


def let_go(store_path: Path, job_id: str) -> None:
    (job_folder(str(store_path), job_id) / "go").touch()


def test_a_job_outlives_its_service_and_the_next_service_leaves_it_alone(store_path: Path, tmp_path: Path):
    TrajectoryStore(store_path).close()
    with service(store_path, tmp_path) as (_, url):
        job_id = start_held(url, store_path)
    with service(store_path, tmp_path) as (_, url):
        assert ask(url, "get_status", job_id=job_id)["status"] == "running"
        let_go(store_path, job_id)
        wait_for(lambda: ask(url, "get_status", job_id=job_id)["status"] == "succeeded")
        assert ask(url, "get_status", job_id=job_id)["best_checkpoint"] == "update-6"
    assert len(workers(store_path, job_id)) == 1


def test_a_job_that_died_with_its_service_is_finished_by_the_next(store_path: Path, tmp_path: Path):
    TrajectoryStore(store_path).close()
    with service(store_path, tmp_path) as (process, url):
        job_id = start_held(url, store_path)
        process.kill()
        os.kill(workers(store_path, job_id)[0], signal.SIGKILL)
    let_go(store_path, job_id)
    with service(store_path, tmp_path) as (_, url):
        wait_for(lambda: ask(url, "get_status", job_id=job_id)["status"] == "succeeded")
        rows = ask(url, "get_metrics", job_id=job_id)["metrics"]
    assert len(workers(store_path, job_id)) == 2
    assert [row["metrics"]["update"] for row in rows][-3:] == [4, 5, 6]
    assert [row["progress"] for row in rows] == sorted({row["progress"] for row in rows})


def test_a_running_job_is_cancelled_over_http_and_a_signal_ends_the_service(store_path: Path, tmp_path: Path):
    TrajectoryStore(store_path).close()
    with service(store_path, tmp_path) as (process, url):
        job_id = ask(url, "start_grpo", agent_id="a", config={"updates": 100_000})["training_job_id"]
        wait_for(lambda: ask(url, "get_status", job_id=job_id)["progress"] > 0.0)
        ask(url, "cancel", job_id=job_id)
        wait_for(lambda: ask(url, "get_status", job_id=job_id)["status"] == "cancelled")
        assert ask(url, "get_status", job_id=job_id)["best_checkpoint"].startswith("update-")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) in (0, -signal.SIGTERM)
