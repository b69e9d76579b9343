"""What a run writes down as it goes."""

import json
import math

import pytest

from grpo.errors import TrainingFailed
from grpo.training_log import FILE, TrainingLog


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def written(folder, updates: int) -> None:
    log = TrainingLog(folder)
    for number in range(1, updates + 1):
        log.write(number, {"loss": number / 2})
    log.flush()


def test_each_update_is_one_line(tmp_path):
    written(tmp_path, 3)
    assert lines(tmp_path) == [{"update": number, "loss": number / 2} for number in (1, 2, 3)]


def test_nothing_is_on_disk_before_it_is_flushed_and_nothing_is_written_twice(tmp_path):
    log = TrainingLog(tmp_path)
    log.write(1, {"loss": 1.0})
    assert not (tmp_path / FILE).exists()
    log.flush()
    log.flush()
    assert len(lines(tmp_path)) == 1


def test_what_is_not_finite_is_null(tmp_path):
    log = TrainingLog(tmp_path)
    log.write(1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.0})
    log.flush()
    assert lines(tmp_path) == [{"update": 1, "a": None, "b": None, "c": None, "d": 0.0}]


def test_a_run_that_goes_on_forgets_what_it_will_do_again(tmp_path):
    written(tmp_path, 5)
    TrainingLog(tmp_path).keep_until(3)
    assert [line["update"] for line in lines(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize("rest", ['{"update": 3, "lo', '{"update', "null\n", "\0\0\0", "{}\n"])
def test_a_line_that_was_cut_short_does_not_stop_the_next_run(tmp_path, rest):
    written(tmp_path, 2)
    with (tmp_path / FILE).open("a") as file:
        file.write(rest)
    TrainingLog(tmp_path).keep_until(9)
    assert [line["update"] for line in lines(tmp_path)] == [1, 2]


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = TrainingLog(None)
    log.write(1, {"loss": 1.0})
    log.flush()
    log.keep_until(0)
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    log = TrainingLog(tmp_path)
    (tmp_path / FILE).mkdir()
    log.write(1, {"loss": 1.0})
    with pytest.raises(TrainingFailed, match=r"cannot write .*metrics\.jsonl"):
        log.flush()
