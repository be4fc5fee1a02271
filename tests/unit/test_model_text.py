"""Titles, the table of text vectors, and the encoders."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from jobs.cli import run
from medal_model.gallery import Gallery
from medal_model.text import TextError, read_texts, read_titles, write_table
from medal_model.text_encoders import EncoderError, encode, open_encoder

GALLERY = Gallery(("a", "b", "c"), ("tops",) * 3, np.zeros((3, 2), np.float32), np.zeros((3, 4), np.float32))


def test_a_table_comes_back_by_row_with_unit_vectors(tmp_path: Path) -> None:
    write_table(tmp_path / "t.safetensors", {"c": np.array([3.0, 4.0]), "a": np.array([0.0, 2.0])}, "test")
    texts = read_texts(tmp_path / "t.safetensors", GALLERY)
    assert texts.told.tolist() == [True, False, True]
    assert np.allclose(texts.vectors, [[0, 1], [0, 0], [0.6, 0.8]])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: None, "no such file; make it with `medal text-table`"),
        (lambda p: p.write_bytes(b"nothing"), "is no text table"),
        (lambda p: save_file({"vectors": np.zeros((1, 2), np.float32)}, p), "is no text table"),
        (lambda p: save_file({"v": np.zeros((1, 2), np.float32)}, p, {"ids": '["a"]'}), "is no text table"),
        (lambda p: save_file({"vectors": np.zeros((2, 2), np.float32)}, p, {"ids": '["a"]'}), "vectors: must be"),
        (
            lambda p: save_file({"vectors": np.ones((1, 2), np.float32)}, p, {"ids": "1"}),
            "is no text table .ids is int",
        ),
        (
            lambda p: save_file({"vectors": np.ones((1, 2), np.float32)}, p, {"ids": '"a"'}),
            "is no text table .ids is str",
        ),
        (
            lambda p: save_file({"vectors": np.full((1, 2), np.nan, np.float32)}, p, {"ids": '["a"]'}),
            "vectors: must be",
        ),
        (lambda p: save_file({"vectors": np.ones((1, 2), np.float32)}, p, {"ids": '["z"]'}), "has none of the 3 items"),
    ],
)
def test_a_table_that_cannot_be_used_names_its_file(spoil: object, said: str, tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    spoil(path)  # type: ignore[operator]
    with pytest.raises(TextError, match=said) as e:
        read_texts(path, GALLERY)
    assert str(path) in str(e.value)


def test_titles_from_a_catalogue_and_from_an_outfits_folder(tmp_path: Path) -> None:
    table = tmp_path / "catalog.csv"
    table.write_text("item_id,title\na,Red shoes\nb,\n\nc, Blue coat \n")
    assert read_titles(table) == ({"a": "Red shoes", "c": "Blue coat"}, 1)
    table.write_text("\ufeffitem_id,title\na,Red shoes\n", encoding="utf-8")  # as Excel writes it
    assert read_titles(table) == ({"a": "Red shoes"}, 0)
    meta = {"1": {"title": "Red", "url_name": "u"}, "2": {"title": "", "url_name": "blue coat"}, "3": {}}
    (tmp_path / "polyvore_item_metadata.json").write_text(json.dumps(meta))
    assert read_titles(tmp_path) == ({"1": "Red", "2": "blue coat"}, 1)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.csv", None, "no such file"),
        ("a.csv", b"item_id,name\na,b\n", "a.csv:1: has no column title"),
        ("a.csv", b"item_id,title\na,b\n,Red shoes\n", "a.csv:3: item_id is empty"),
        ("a.csv", b"item_id,title\na,b\nc,d\na,e\n", "a.csv:4: item_id 'a' stands twice, first in line 2"),
        ("a.csv", b"item_id,title\na,b\nc\n", "a.csv:3: has another number of fields than the header"),
        ("a.csv", b"item_id,title\na,Shoes, red\n", "a.csv:2: has another number of fields than the header"),
        ("a.csv", b'item_id,title\na,"Red shoes\n', "cannot be read as CSV"),
        ("a.csv", b"item_id,title\na,\nb, \n", "a.csv: not one of 2 items has a title"),
        ("polyvore_item_metadata.json", b'{"1": {}}', "not one of 1 items has a title"),
        ("a.csv", b"item_id,title\na,\xff\xfe\n", "cannot be read as CSV"),
        ("polyvore_item_metadata.json", b"[1]", "must be a JSON object"),
        ("polyvore_item_metadata.json", b"{", "cannot be read as JSON"),
    ],
)
def test_titles_that_cannot_be_read_name_their_file(
    name: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TextError, match=said):
        read_titles(tmp_path if name.endswith("json") else tmp_path / name)


def test_an_encoder_that_is_not_there_says_what_to_install(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    if importlib.util.find_spec("open_clip") is not None:
        pytest.skip("open_clip is installed")
    with pytest.raises(EncoderError, match="pip install open_clip_torch"):
        open_encoder("clip")
    (tmp_path / "c.csv").write_text("item_id,title\na,b\n")
    said = ["text-table", "--titles", str(tmp_path / "c.csv"), "--out", str(tmp_path / "t"), "--encoder"]
    assert run([*said, "clip"]) == 2
    assert run([*said, "bert"]) == 2
    assert "must be auto, clip or minilm" in capsys.readouterr().err


def test_the_stand_in_knows_what_words_mean() -> None:
    encoder = open_encoder("minilm")
    titles = {"1": "red leather shoes", "2": "crimson leather boots", "3": "blue denim jacket"}
    v = encode(encoder, titles, lambda done, total: None)
    assert encoder.stand_in
    assert v["1"] @ v["2"] > v["1"] @ v["3"] + 0.1
    assert np.isclose(np.linalg.norm(v["3"]), 1, atol=1e-5)
