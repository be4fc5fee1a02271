"""The harvest's parts: rules file, recorded detections, boxes, hashes, crops, split, questions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from medal_model.harvest.config import HarvestConfig, make_harvest_config, read_harvest_config
from medal_model.harvest.counts import Counts, LostError
from medal_model.harvest.crops import padded, white_square, without_background, without_others
from medal_model.harvest.detections import Box, HarvestError, Photo
from medal_model.harvest.hashing import SeenHashes, difference_hash
from medal_model.harvest.labels import LABELS
from medal_model.harvest.layout import set_id, write_layout
from medal_model.harvest.questions import Outfit, Piece, ask, split_of
from medal_model.harvest.recorded import RecordedDetector
from medal_model.outfits import read_outfits
from medal_model.settings_file import ConfigError
from schemas.taxonomy import load_taxonomy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("min_scor: 1\n", "unknown key min_scor"),
        ("min_score: 1.5\n", "min_score must be from 0 to 1"),
        ("min_items: 1\n", "min_items must be from 2"),
        ("seed: true\n", "seed must be of type int"),
        ("one_person: two\n", "one_person must be one of auto"),
        ("worn_once: tops\n", "worn_once must be a list of names"),
        ("labels: [a]\n", "labels must map"),
        ("labels: {shirt: 3}\n", "labels: 'shirt'"),
        ("train_share: 0.9\nvalid_share: 0.2\n", "add up to more than 1"),
        ("train_share: 8e-1\n", r"train_share must be of type float, is '8e-1'; write 8\.0e-1$"),
        ("min_side: 1.5e2\n", r"is '1\.5e2'; write 1\.5e\+2$"),
        ("min_side: 24 px\n", r"min_side must be of type float, is '24 px'$"),
        ("seed: 1e3\n", r"seed must be of type int, is '1e3'$"),
        ("- a\n", "must be a mapping"),
        ("a: [\n", "cannot be read as YAML"),
    ],
)
def test_a_wrong_rules_file_names_file_and_key(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as e:
        read_harvest_config(path)
    assert str(path) in str(e.value)


def test_labels_of_a_file_stand_over_the_built_in_ones() -> None:
    config = make_harvest_config({"labels": {"Vest ": "tops", "poncho": "outerwear", "bag": None}})
    assert config.labels == {**LABELS, "vest": "tops", "poncho": "outerwear", "bag": None}


def test_the_built_in_table_knows_only_categories_of_the_taxonomy() -> None:
    assert {c for c in LABELS.values() if c is not None} <= set(load_taxonomy().categories)


HEAD = "photo,label,x,y,w,h,score,mask_area,photo_w,photo_h\n"
ROW = "a.jpg,Shirt,1,2,3,4,0.5,6,100,200\n"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("photo,label,x,y,w\n", 1, "has no column h"),
        (HEAD + ROW + "a,b,1\n", 3, "another number of fields"),
        (HEAD + ROW + "a,b,1,2,3,4,5,6,7,8,9\n", 3, "another number of fields"),
        (HEAD + "a,shirt,one,2,3,4,,,,\n", 2, "x must be a number, is 'one'"),
        (HEAD + "a,shirt,nan,2,3,4,,,,\n", 2, "x must be a number"),
        (HEAD + "a,shirt,1,2,0,4,,,,\n", 2, "w and h must be above 0"),
        (HEAD + "a,shirt,1,2,3,4,1.1,,,\n", 2, "score must be from 0 to 1"),
        (HEAD + ",shirt,1,2,3,4,,,,\n", 2, "photo and label must not be empty"),
        (HEAD + ROW + "a,shirt,1,2,3,4,,,100,201\n", 3, "another size than in line 2"),
        (HEAD + ROW + 'a,"shirt,1,2,3,4,,,,\n', 3, "cannot be read as CSV"),
    ],
)
def test_damaged_recordings_name_file_and_line(text: str, line: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(text)
    with pytest.raises(HarvestError, match=said) as e:
        RecordedDetector(path)
    assert f"{path}:{line}: " in str(e.value)


def test_recordings_that_are_no_recordings(tmp_path: Path) -> None:
    with pytest.raises(HarvestError, match="no such file"):
        RecordedDetector(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HarvestError, match="UTF-8"):
        RecordedDetector(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text(HEAD)
    with pytest.raises(HarvestError, match="holds no detection"):
        RecordedDetector(tmp_path / "c.csv")


def test_recorded_rows_come_back_by_photo(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(HEAD + ROW + "a,Person,0,0,9,9,,,,\nv1.2,coat,1,1,9,9,,,,\n")
    detector = RecordedDetector(path)
    photo = Photo("a", tmp_path / "a.jpg", "", np.zeros((200, 100, 3), np.uint8))
    shirt, person = detector.detect(photo)
    assert (shirt.label, shirt.score, shirt.box, shirt.mask_area) == ("shirt", 0.5, Box(1, 2, 3, 4), 6)
    assert (person.score, person.mask_area, person.person) == (1.0, None, True)
    assert detector.persons
    assert detector.held == {"a": 2, "v1.2": 1}
    with pytest.raises(HarvestError, match=f"{path}:2: recorded on 100 x 200 pixels"):
        detector.detect(Photo("a", tmp_path / "a.jpg", "", np.zeros((100, 100, 3), np.uint8)))


@pytest.mark.parametrize(
    ("a", "b", "iou", "inside"),
    [
        (Box(0, 0, 10, 10), Box(0, 0, 10, 10), 1, 1),
        (Box(0, 0, 10, 10), Box(5, 0, 10, 10), 50 / 150, 0.5),
        (Box(2, 2, 5, 5), Box(0, 0, 10, 10), 0.25, 1),
        (Box(0, 0, 10, 10), Box(10, 0, 10, 10), 0, 0),
        (Box(0, 0, 0, 0), Box(0, 0, 0, 0), 0, 0),
    ],
)
def test_boxes(a: Box, b: Box, iou: float, inside: float) -> None:
    assert a.iou(b) == pytest.approx(iou)
    assert a.inside(b) == pytest.approx(inside)


def test_a_perceptual_hash_survives_size_and_light_and_tells_photos_apart() -> None:
    rng = np.random.default_rng(0)
    one, other = (np.kron(rng.integers(0, 200, (8, 9, 1)), np.ones((20, 20, 3))).astype(np.uint8) for _ in range(2))
    bits = lambda a, b: bin(difference_hash(a) ^ difference_hash(b)).count("1")  # noqa: E731
    assert bits(one, one[::2, ::2]) <= 2
    assert bits(one, one + 20) <= 2
    assert bits(one, other) > 10


def test_seen_hashes_agree_with_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    values = [int(v) for v in rng.integers(0, 2**63, 200)]
    values[150:] = [v ^ 0b101 for v in values[:50]]
    for distance in (-1, 0, 2, 24):
        seen = SeenHashes(distance)
        for n, value in enumerate(values):
            gaps = [bin(value ^ old).count("1") for old in values[:n]]
            assert seen.has_like(value) is (min(gaps, default=65) <= distance)
            seen.add(value)


def test_padding_is_a_share_of_the_longer_side_and_ends_at_the_photo() -> None:
    pixels = np.arange(100 * 60 * 3).reshape(100, 60, 3).astype(np.uint8)
    assert np.array_equal(padded(pixels, Box(20, 30, 10, 20), 0.5), pixels[20:60, 10:40])
    assert np.array_equal(padded(pixels, Box(0, 0, 10, 20), 0.5), pixels[0:30, 0:20])
    assert np.array_equal(padded(pixels, Box(20, 30, 10, 20), 0.0), pixels[30:50, 20:30])


def test_a_white_square_holds_the_crop_in_its_middle() -> None:
    square = white_square(np.zeros((4, 10, 3), np.uint8))
    assert square.shape == (10, 10, 3)
    assert not square[3:7].any()
    assert (square[:3] == 255).all() and (square[7:] == 255).all()


def test_other_items_in_front_go_white_and_those_behind_stay() -> None:
    pixels = np.zeros((100, 60, 3), np.uint8)
    coat, top, dress = Box(10, 10, 40, 60), Box(20, 20, 10, 10), Box(5, 5, 50, 90)
    out = without_others(pixels, coat, [coat, top, dress])
    assert (out[20:30, 20:30] == 255).all()
    assert int((out == 255).sum()) == 10 * 10 * 3
    assert not pixels.any()  # the photo itself is not touched


def test_background_goes_white_and_the_item_stays() -> None:
    rng = np.random.default_rng(2)
    pixels = rng.integers(60, 90, (120, 120, 3)).astype(np.uint8)  # a grey street
    y, x = np.ogrid[:120, :120]
    item = (y - 60) ** 2 + (x - 60) ** 2 <= 30**2
    pixels[item] = [180, 30, 40]
    out = without_background(pixels, box := Box(30, 30, 60, 60), [box])
    white = (out == 255).all(-1)
    assert white[30:90, 30:90][~item[30:90, 30:90]].mean() > 0.85
    assert white[item].mean() < 0.05
    alone = np.full((60, 60, 3), 9, np.uint8)  # the box is the whole photo: nothing is known of a background
    assert np.array_equal(without_background(alone, Box(0, 0, 60, 60), [Box(0, 0, 60, 60)]), alone)


def test_the_split_follows_shares_and_the_photo_alone() -> None:
    config = HarvestConfig(train_share=0.6, valid_share=0.3, seed=5)
    names = [f"{n:04d}" for n in range(4000)]
    parts = [split_of(n, config) for n in names]
    for part, share in (("train", 0.6), ("valid", 0.3), ("test", 0.1)):
        assert parts.count(part) / 4000 == pytest.approx(share, abs=0.03)
    assert [split_of(n, config) for n in names[::-1]] == parts[::-1]
    assert [split_of(n, HarvestConfig(seed=6)) for n in names] != parts


def test_set_ids_are_plain_and_never_meet() -> None:
    names = ["0002", "a b", "a-b", "a_b", "é", "DSC 1 (2)", "-x"]
    ids = [set_id(n) for n in names]
    assert ids[0] == "0002"
    assert ids[2] == "a-b"
    assert len(set(ids)) == len(names)
    assert not any(c in i for i in ids for c in " _/")


@pytest.mark.parametrize("label", ['shirt "slim", long', "top, t-shirt", '"', "plain"])
def test_a_label_of_any_form_comes_back_from_the_layout(label: str, tmp_path: Path) -> None:
    pieces = (Piece("a-1", 1, label, "tops"), Piece("a-2", 2, "jeans", "bottoms"))
    nothing = ask([], 0)
    write_layout(
        tmp_path, {"train": [Outfit("a", pieces)], "valid": [], "test": []}, {"valid": nothing, "test": nothing}
    )
    named = {}
    read_outfits(tmp_path, "disjoint", lambda semantic, fine: named.setdefault(fine, semantic))
    assert named == {label: "tops", "jeans": "bottoms"}


def outfits(count: int, labels: Mapping[str, str]) -> list[Outfit]:
    return [
        Outfit(str(n), tuple(Piece(f"{n}-{i}", i, label, c) for i, (label, c) in enumerate(labels.items(), 1)))
        for n in range(count)
    ]


def test_questions_ask_for_an_item_among_others_of_its_fine_category() -> None:
    own = outfits(6, {"shirt": "tops", "jeans": "bottoms", "boots": "shoes"})
    asked = ask(own, seed=3)
    label = {f"{o.set_id}_{p.index}": p.label for o in own for p in o.pieces}
    assert len(asked.fill_in_blank) == 6
    for q in asked.fill_in_blank:
        (set_,) = {r.split("_")[0] for r in q["question"]}
        right = [a for a in q["answers"] if a.split("_")[0] == set_]
        assert right == [f"{set_}_{q['blank_position']}"]
        assert len(set(q["answers"])) == 4
        assert len({label[a] for a in q["answers"]}) == 1
    made = [line for line in asked.compatibility if line.startswith("1 ")]
    drawn = [line.split()[1:] for line in asked.compatibility if line.startswith("0 ")]
    assert len(made) == len(drawn) == 6
    for outfit, refs in zip(own, drawn, strict=True):
        assert [label[r] for r in refs] == [p.label for p in outfit.pieces]
        assert not any(r.startswith(f"{outfit.set_id}_") for r in refs)
    assert ask(own, seed=3) == asked
    assert ask(own, seed=4) != asked


def test_too_few_of_a_kind_is_counted_not_asked() -> None:
    asked = ask(outfits(3, {"shirt": "tops", "jeans": "bottoms"}), seed=0)
    assert asked.fill_in_blank == ()
    assert sum(asked.left_out.values()) == 3
    alone = ask(outfits(1, {"shirt": "tops", "jeans": "bottoms"}), seed=0)
    assert alone.compatibility == ("1 0_1 0_2",)
    assert sum(alone.left_out.values()) == 2


def test_what_is_lost_is_a_bug() -> None:
    counts = Counts()
    counts.photos.taken, counts.photos.kept = 3, 1
    counts.photos.dropped["no person"] = 1
    with pytest.raises(LostError, match="photos: 3 in, but 1 kept and 1 dropped"):
        counts.check()
