"""The doctor finds what is wrong, says how bad it is, and mends what can be made again."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from trajectory_samples import make_trajectory

from trajstore import doctor
from trajstore.cli import run
from trajstore.doctor import Finding, examine, network_file_system, repair
from trajstore.embedding import HashedEmbedder, text_hash
from trajstore.errors import DamagedStore
from trajstore.experience import embedded_texts
from trajstore.index_cache import index_status
from trajstore.recollection import recollect
from trajstore.store import TrajectoryStore, index_folder

EMBEDDER = HashedEmbedder()
COUNT = 30


class TiringEmbedder(HashedEmbedder):
    """Hashed words that are given up after some texts."""

    def __init__(self, patience: int) -> None:
        super().__init__(64)
        self.patience = patience
        self.embedded = 0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.embedded + len(texts) > self.patience:
            raise KeyboardInterrupt
        self.embedded += len(texts)
        return super().embed(texts)


@pytest.fixture
def sound(store_path: Path) -> Iterator[TrajectoryStore]:
    """A store with vectors and index, in which all is well."""
    with TrajectoryStore(store_path) as store:
        store.add_many(make_trajectory(f"task number {number}", source="ab"[number % 2]) for number in range(COUNT))
        recollect(store, EMBEDDER)
        yield store


def about_the_store(store: TrajectoryStore) -> list[Finding]:
    """Findings that are no matter of the computer that the test runs on."""
    return [finding for finding in examine(store) if not finding.what.startswith(("SQLite ", f"{store.path} lies on"))]


def change(store: TrajectoryStore, statement: str, *values: object) -> None:
    with store._database.writing() as connection:
        connection.execute(statement, values)


def all_texts(store: TrajectoryStore) -> set[str]:
    return {text for trajectory in store.trajectories() for text in embedded_texts(trajectory)}


def hashes(store: TrajectoryStore) -> list[bytes]:
    return [text_hash(text) for text in all_texts(store)]


def test_a_sound_store_has_no_findings(sound: TrajectoryStore):
    assert about_the_store(sound) == []


def test_an_empty_store_has_no_findings(store: TrajectoryStore):
    assert about_the_store(store) == []


def test_an_examination_changes_nothing(sound: TrajectoryStore):
    before = sound.generation, sound.vectors(hashes(sound)).keys(), index_status(sound)
    examine(sound)
    assert before == (sound.generation, sound.vectors(hashes(sound)).keys(), index_status(sound))


def test_texts_without_a_vector_and_an_index_behind_are_no_fault(sound: TrajectoryStore):
    sound.add(make_trajectory("another task"))
    found = about_the_store(sound)
    assert [finding.severity for finding in found] == ["info", "info"]
    assert found[0].what == "1 texts have no vector yet"
    assert found[1].what == "the index does not hold the newest rows"


def test_a_text_of_several_trajectories_is_counted_once(store: TrajectoryStore, monkeypatch):
    monkeypatch.setattr(doctor, "READ_CHUNK", 2)
    store.add_many(make_trajectory("one task", source=str(number)) for number in range(9))
    (missing, _) = about_the_store(store)
    assert missing.what == f"{len(all_texts(store))} texts have no vector yet"


@pytest.mark.parametrize(
    "vector",
    [b"", b"\x00", np.ones(512, "<f2").tobytes(), np.full(512, np.nan, "<f2").tobytes(), np.eye(1, 9).tobytes()],
    ids=["empty", "one byte", "too long a vector", "not finite", "too few entries"],
)
def test_a_damaged_vector_is_an_error_that_repair_mends(sound: TrajectoryStore, vector: bytes):
    whole = sound.vectors(hashes(sound))
    change(sound, "UPDATE vectors SET vector = ? WHERE rowid = 3", vector)
    (finding,) = (one for one in about_the_store(sound) if one.severity == "error")
    assert finding.what == "1 vectors are damaged"
    assert finding.remedy.startswith(f"trajstore doctor --db {sound.path} --repair")
    repair(sound)
    assert about_the_store(sound) == []
    mended = sound.vectors(hashes(sound))
    assert {key: value.tobytes() for key, value in mended.items()} == {key: one.tobytes() for key, one in whole.items()}


def test_a_text_that_the_embedder_is_blind_to_is_a_warning(store: TrajectoryStore):
    store.add(make_trajectory("知らない言葉"))
    repair(store)
    store.put_vectors({text_hash("知らない言葉"): np.zeros(512)})
    (finding,) = about_the_store(store)
    assert (finding.severity, finding.what[:31]) == ("warning", "1 texts with words have a zero ")
    assert "--embedder" in finding.remedy


def test_a_blank_text_has_a_zero_vector_by_right(store: TrajectoryStore):
    store.add(make_trajectory("  "))
    repair(store)
    assert about_the_store(store) == []


def test_a_record_that_is_not_what_was_added_is_named(sound: TrajectoryStore):
    changed = sound.ids("default")[4]
    change(sound, "UPDATE trajectories SET agent = 'someone else' WHERE id = ?", changed)
    (finding,) = about_the_store(sound)
    assert finding.severity == "error"
    assert finding.what == f"trajectory {changed!r} is not what was added"
    assert finding.remedy.endswith(f"trajstore forget --db {sound.path} --id {changed}")


UNREADABLE = [
    "UPDATE steps SET args = '{' WHERE seq = 9",
    "UPDATE steps SET args = '[1]' WHERE seq = 9",
    "UPDATE steps SET tool = '' WHERE seq = 9",
    "UPDATE steps SET outcome = 'okay' WHERE seq = 9",
    "UPDATE steps SET observation = CAST(x'ff' AS TEXT) WHERE seq = 9",
    "UPDATE steps SET observation = CAST(x'0aff' AS TEXT) WHERE seq = 9",
    "UPDATE steps SET state = x'00' WHERE seq = 9",
    "UPDATE steps SET tokens = 'many' WHERE seq = 9",
    "UPDATE trajectories SET task_text = x'00' WHERE seq = 5",
    "UPDATE trajectories SET kpis = '[' WHERE seq = 5",
    "UPDATE trajectories SET trust = 'much' WHERE seq = 5",
]


@pytest.mark.parametrize("statement", UNREADABLE)
def test_an_unreadable_record_is_named_and_the_others_are_examined(sound: TrajectoryStore, statement: str):
    broken = sound.ids("default")[4]
    change(sound, statement)
    change(sound, "UPDATE vectors SET vector = x'00' WHERE rowid = 1")
    found = [finding.what for finding in about_the_store(sound) if finding.severity == "error"]
    assert found == [f"trajectory {broken!r} is not what was added", "1 vectors are damaged"]


@pytest.mark.parametrize("statement", UNREADABLE)
def test_an_unreadable_record_can_be_erased_and_all_is_well_again(sound: TrajectoryStore, statement: str):
    broken = sound.ids("default")[4]
    change(sound, statement)
    sound.remove(broken)
    assert sound.stats().trajectories == COUNT - 1
    repair(sound)
    assert about_the_store(sound) == []


@pytest.mark.parametrize("statement", UNREADABLE)
def test_an_unreadable_record_is_damage_in_one_sentence(sound: TrajectoryStore, statement: str):
    change(sound, statement)
    with pytest.raises(DamagedStore, match="is damaged") as error:
        list(sound.trajectories())
    assert "\n" not in str(error.value)


def test_reading_an_unreadable_record_names_it_and_what_helps(sound: TrajectoryStore):
    broken = sound.ids("default")[4]
    change(sound, UNREADABLE[0])
    with pytest.raises(
        DamagedStore, match=f"trajectory '{broken}' is damaged .*trajstore forget --id {broken}"
    ) as error:
        list(sound.trajectories())
    assert "\n" not in str(error.value)


def test_repair_deletes_no_record(sound: TrajectoryStore):
    change(sound, UNREADABLE[0])
    with pytest.raises(DamagedStore):
        repair(sound)
    assert sound.stats().trajectories == COUNT


def test_of_many_damaged_records_the_first_are_named_and_the_others_counted(sound: TrajectoryStore, monkeypatch):
    monkeypatch.setattr(doctor, "SHOWN", 3)
    change(sound, "UPDATE trajectories SET judge = 'nobody'")
    found = about_the_store(sound)
    assert len(found) >= 4
    assert found[3].what == f"{COUNT - 3} more trajectories are not what was added"


def test_a_broken_reference_is_an_error(sound: TrajectoryStore, store_path: Path):
    sound.close()
    plain = sqlite3.connect(store_path, isolation_level=None)
    plain.execute("UPDATE steps SET trajectory_seq = 999 WHERE seq = 1")
    plain.close()
    with TrajectoryStore(store_path) as store:
        found = [finding.what for finding in about_the_store(store) if finding.severity == "error"]
    assert "SQLite's check says: broken reference in steps" in found


def test_vectors_of_texts_that_are_gone_are_found_and_removed(sound: TrajectoryStore):
    key = text_hash("a text that was forgotten")
    sound.put_vectors({key: EMBEDDER.embed(["a text that was forgotten"])[0]})
    (finding,) = about_the_store(sound)
    assert (finding.severity, finding.what) == ("info", "1 vectors are of texts that are gone")
    repair(sound)
    assert sound.vectors([key]) == {}
    assert about_the_store(sound) == []


def test_index_files_that_nobody_uses_are_found_and_swept(sound: TrajectoryStore):
    folder = index_folder(sound.path)
    folder.mkdir()
    (folder / "0123-xyz.part").write_bytes(b"half")
    (folder / "0123-456.faiss").write_bytes(b"old")
    (finding,) = about_the_store(sound)
    assert (finding.severity, finding.what[:7]) == ("info", "2 index")
    repair(sound)
    assert list(folder.iterdir()) == []
    assert about_the_store(sound) == []


def test_repair_embeds_everything_with_another_embedder(sound: TrajectoryStore):
    other = HashedEmbedder(64)
    repair(sound, other)
    assert sound.embedder_identity() == other.identity
    assert about_the_store(sound) == []
    assert index_status(sound)["fresh"] is True
    assert {len(vector) for vector in sound.vectors(hashes(sound)).values()} == {64}


def test_repair_goes_on_where_it_was_interrupted(store: TrajectoryStore, monkeypatch):
    monkeypatch.setattr(doctor, "EMBED_CHUNK", 50)
    store.add_many(make_trajectory(f"task number {number}") for number in range(200))
    texts, tiring = len(all_texts(store)), TiringEmbedder(patience=120)
    with pytest.raises(KeyboardInterrupt):
        repair(store, tiring)
    assert tiring.embedded == 100
    tiring.patience = texts
    repair(store, tiring)
    assert tiring.embedded == texts
    assert about_the_store(store) == []


def test_repair_tells_how_far_it_is(store: TrajectoryStore, monkeypatch):
    monkeypatch.setattr(doctor, "EMBED_CHUNK", 50)
    store.add_many(make_trajectory(f"task number {number}") for number in range(100))
    texts = len(all_texts(store))
    told: list[tuple[int, int]] = []
    repair(store, EMBEDDER, lambda done, to_do: told.append((done, to_do)))
    assert [done for done, _ in told] == [*range(50, texts, 50), texts]
    assert {to_do for _, to_do in told} == {texts}


def test_repairing_a_sound_store_embeds_nothing(sound: TrajectoryStore):
    told: list[tuple[int, int]] = []
    repair(sound, EMBEDDER, lambda done, to_do: told.append((done, to_do)))
    assert told == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/agent.db", None),
        ("/home/me/agent.db", "nfs4"),
        ("/home/me/disk/agent.db", None),
        ("/homely/agent.db", None),
        ("/my share/agent.db", "cifs"),
    ],
)
def test_a_network_file_system_is_known_by_the_innermost_mount(path: str, kind: str | None):
    mounts = "\n".join(
        [
            "/dev/sda1 / ext4 rw 0 0",
            "server:/home /home nfs4 rw 0 0",
            "/dev/sdb1 /home/me/disk ext4 rw 0 0",
            r"//server/share /my\040share cifs rw 0 0",
        ]
    )
    assert network_file_system(Path(path), mounts) == kind


def test_a_store_on_a_network_file_system_is_a_warning(sound: TrajectoryStore, tmp_path: Path, monkeypatch):
    (tmp_path / "mounts").write_text(f"server:/x {tmp_path.resolve()} nfs rw 0 0\n")
    monkeypatch.setattr(doctor, "MOUNTS", tmp_path / "mounts")
    (finding,) = (one for one in examine(sound) if one.severity == "warning")
    assert "lies on a network file system (nfs)" in finding.what


@pytest.mark.parametrize(("version", "count"), [("3.40.1", 1), ("3.51.2", 1), ("3.51.3", 0), ("3.53.0", 0)])
def test_a_library_with_the_known_fault_is_named(sound: TrajectoryStore, monkeypatch, version: str, count: int):
    class Library:
        sqlite_version = version

    monkeypatch.setattr(doctor, "sqlite_module", lambda: Library)
    found = [finding for finding in examine(sound) if finding.what.startswith(f"SQLite {version} can damage")]
    assert len(found) == count
    assert all(finding.severity == "info" for finding in found)


def test_the_command_ends_with_3_where_something_is_damaged_and_0_after_the_repair(sound: TrajectoryStore, capsys):
    change(sound, "UPDATE vectors SET vector = x'00' WHERE rowid = 1")
    assert run(["doctor", "--db", sound.path, "--json"]) == 3
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["ok"] is False
    assert "1 vectors are damaged" in [finding["what"] for finding in report["findings"]]
    assert run(["doctor", "--db", sound.path, "--repair", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
