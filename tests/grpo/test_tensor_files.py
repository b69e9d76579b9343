"""Arrays on disk: whole, or as they were."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from grpo.errors import CheckpointDamaged, TrainingFailed
from grpo.tensor_files import load_tensors, save_tensors, write_whole

TEXTS = st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3)
KINDS = st.sampled_from([np.float32, np.float64, np.int64, np.uint8])
TENSORS = KINDS.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(max_dims=3, max_side=4)))


@given(st.dictionaries(st.text("abc.", min_size=1, max_size=5), TENSORS, min_size=1, max_size=4), TEXTS)
def test_what_is_saved_comes_back_equal(tmp_path_factory, tensors, texts):
    path = tmp_path_factory.mktemp("tensors") / "file"
    save_tensors(path, tensors, texts)
    found, words = load_tensors(path)
    assert found.keys() == tensors.keys()
    assert words == texts
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes()
        assert found[name].shape == array.shape


def test_an_array_that_is_a_view_is_saved_as_what_it_shows(tmp_path):
    save_tensors(tmp_path / "file", {"x": np.arange(12).reshape(3, 4).T}, {})
    assert (load_tensors(tmp_path / "file")[0]["x"] == np.arange(12).reshape(3, 4).T).all()


def test_nothing_is_left_beside_the_file(tmp_path):
    for number in range(3):
        write_whole(tmp_path / "deep" / "file", bytes([number]))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]
    assert (tmp_path / "deep" / "file").read_bytes() == b"\x02"


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingFailed, match=r"cannot write .*file/policy"):
        write_whole(tmp_path / "file" / "policy", b"")


def test_a_place_that_is_a_folder_is_named_and_nothing_is_left_beside_it(tmp_path):
    (tmp_path / "policy").mkdir()
    with pytest.raises(TrainingFailed, match="cannot write"):
        write_whole(tmp_path / "policy", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_a_folder_that_may_not_be_written_keeps_what_it_holds(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "policy").write_bytes(b"old")
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(TrainingFailed, match="cannot write"):
        write_whole(tmp_path / "policy", b"new")
    tmp_path.chmod(stat.S_IRWXU)
    assert (tmp_path / "policy").read_bytes() == b"old"


def test_a_file_without_words_reads_as_arrays_alone(tmp_path):
    save_tensors(tmp_path / "file", {"x": np.zeros(2)}, {})
    assert load_tensors(tmp_path / "file")[1] == {}


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * 100, b"{}"])
def test_what_is_no_tensor_file_is_damage(tmp_path: Path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CheckpointDamaged, match="is not whole"):
        load_tensors(tmp_path / "file")


def test_a_folder_is_no_tensor_file(tmp_path):
    with pytest.raises(CheckpointDamaged, match="is not there"):
        load_tensors(tmp_path)
