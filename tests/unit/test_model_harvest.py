"""A whole harvest: nothing lost, split before pairing, the same bytes again, and faults as one clear line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from jobs.cli import run
from medal_model.harvest.config import HarvestConfig, make_harvest_config
from medal_model.harvest.detections import Box, Detection, DetectorError, HarvestError, Photo
from medal_model.harvest.questions import SPLITS
from medal_model.harvest.recorded import RecordedDetector
from medal_model.harvest.run import Harvested, harvest
from medal_model.harvest.sheet import draw_sheet
from medal_model.outfits import read_outfits
from schemas.taxonomy import load_taxonomy
from tests.conftest import SHARED

COUNT = 24
BOXES = {"shirt": (20, 10, 60, 60), "jeans": (20, 80, 60, 60), "boots": (20, 150, 60, 40)}
STREET = SHARED / "street"


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Photos p00..p23, each with its own noise, and a shirt, jeans and boots in each."""
    (tmp_path / "photos").mkdir()
    rows = ["photo,label,x,y,w,h,photo_w,photo_h"]
    for n in range(COUNT):
        rng = np.random.default_rng(n)
        coarse = rng.integers(0, 255, (20, 10, 3)).astype(np.uint8)
        Image.fromarray(coarse.repeat(10, 0).repeat(10, 1)).save(tmp_path / "photos" / f"p{n:02d}.png")
        rows += [f"p{n:02d},{label},{x},{y},{w},{h},100,200" for label, (x, y, w, h) in BOXES.items()]
    (tmp_path / "boxes.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def reap(street: Path, out: str = "out", **config: Any) -> Harvested:
    values = {"background": "keep", "train_share": 0.5, "valid_share": 0.25, **config}
    rules = make_harvest_config(values)
    return harvest(street / "photos", RecordedDetector(street / "boxes.csv"), street / out, rules, "medal harvest")


def add(street: Path, *rows: str) -> None:
    with (street / "boxes.csv").open("a") as f:
        f.writelines(f"{row}\n" for row in rows)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_goes_in_comes_out_or_has_a_reason(street: Path) -> None:
    photos = street / "photos"
    (photos / "p01.png").write_bytes(b"<html>")
    (photos / "p03.png").write_bytes((photos / "p02.png").read_bytes())  # a copy
    (photos / "p99.png").write_bytes((photos / "p04.png").read_bytes()[:300])
    Image.new("RGB", (100, 200), (9, 9, 9)).save(photos / "unnamed.png")
    add(street, "gone,shirt,1,1,50,50,100,200", "p05,kite,1,1,50,50,100,200", "p06,socks,1,1,50,50,100,200")
    add(street, "p07,jeans,85,80,15,60,100,200", "p08,person,1,1,90,90,100,200")
    done = reap(street, min_side=10, one_person="garments")
    photo, found = done.counts.photos, done.counts.detections
    assert dict(photo.dropped) == {
        "cannot be read: not_an_image": 1,
        "same as another photo": 1,
        "cannot be read: truncated": 1,
        "no detections": 1,
        "not in the folder": 1,
        "more than one person": 1,
    }
    assert (photo.taken, photo.kept) == (COUNT + 3, COUNT - 3)
    assert {k: n for k, n in found.dropped.items() if n} == {
        "photo: cannot be read: not_an_image": 3,
        "photo: same as another photo": 3,
        "photo: not in the folder": 1,
        "photo: more than one person": 4,
        "label unknown: kite": 1,
        "label refused: socks": 1,
        "person, no item": 1,
    }
    assert found.taken == 3 * COUNT + 5
    assert found.kept == 3 * (COUNT - 3) == len(list((done.out / "images").iterdir()))
    assert len(done.notes) == 2
    marker = json.loads((done.out / "harvest.json").read_text())
    for tally in (marker["photos"], marker["detections"]):
        assert tally["in"] == tally["kept"] + sum(tally["dropped"].values())
    assert marker["config"]["min_side"] == 10
    assert marker["command"] == "medal harvest"


def test_the_result_is_an_outfits_folder_whose_parts_share_no_photo(street: Path) -> None:
    done = reap(street)
    for variant in ("nondisjoint", "disjoint"):
        read = read_outfits(done.out, variant, load_taxonomy().category)
        assert sum(len(own) for own in read.sets.values()) == COUNT
        assert not read.dropped
        part = {i: s for s in SPLITS for outfit in read.sets[s] for i in outfit}
        assert len(part) == 3 * COUNT  # an item is in one outfit of one part
        photos = {i.rsplit("-", 1)[0]: s for i, s in part.items()}
        assert all(photos[i.rsplit("-", 1)[0]] == s for i, s in part.items())
        for s in ("valid", "test"):
            assert read.questions[s]
            for q in read.questions[s]:
                assert {part[i] for i in (*q.outfit, *q.answers)} == {s}
                assert len({read.items[a].product_type for a in q.answers}) == 1
            for j in read.judged[s]:
                assert {part[i] for i in j.outfit} == {s}
    lines = [json.loads(line) for line in (done.out / "provenance.jsonl").read_text().splitlines()]
    assert {e["item_id"] for e in lines} == set(part)
    one = next(e for e in lines if e["item_id"] == "p00-2")
    assert one["photo"] == "p00.png"
    assert one["box"] == [20, 80, 60, 60]
    assert (one["label"], one["category"], one["score"]) == ("jeans", "bottoms", 1.0)
    assert one["detector"].startswith("recorded:boxes.csv@")
    with Image.open(done.out / "images" / "p00-3.jpg") as boots:
        assert boots.size == (70, 70)  # 60 and 8 % of it, rounded to whole pixels outwards, on each side


def test_the_same_again_gives_the_same_bytes(street: Path) -> None:
    first = content(reap(street).out)
    assert content(reap(street).out) == first  # in its own place
    assert content(reap(street, "other").out) == first
    assert content(reap(street, "seed", seed=1).out) != first
    assert sorted(p.name for p in street.iterdir()) == ["boxes.csv", "other", "out", "photos", "seed"]


def test_another_photo_moves_none_to_another_part(street: Path) -> None:
    before = {o.set_id: s for s, own in reap(street).sets.items() for o in own}
    (street / "photos" / "p05.png").unlink()
    after = {o.set_id: s for s, own in reap(street).sets.items() for o in own}
    assert after == {k: s for k, s in before.items() if k != "p05"}


def test_a_crop_seen_before_is_dropped_but_not_for_the_sake_of_a_dropped_photo(street: Path) -> None:
    """p01's jeans are p00's. p02 has but p00's jeans and a shirt of p03: it goes, and p03 keeps its shirt."""

    def part(n: int, label: str) -> tuple[slice, slice]:
        x, y, w, h = BOXES[label]
        return slice(y, y + h), slice(x, x + w)

    pixels = [np.asarray(Image.open(street / "photos" / f"p{n:02d}.png")).copy() for n in range(4)]
    pixels[1][part(1, "jeans")] = pixels[0][part(0, "jeans")]
    pixels[2][part(2, "jeans")] = pixels[0][part(0, "jeans")]
    pixels[2][part(2, "shirt")] = pixels[3][part(3, "shirt")]
    for n, p in enumerate(pixels):
        Image.fromarray(p).save(street / "photos" / f"p{n:02d}.png")
    kept = (street / "boxes.csv").read_text().replace("p02,boots,20,150,60,40,100,200\n", "")
    (street / "boxes.csv").write_text(kept)
    done = reap(street, padding=0, others="keep")
    assert done.counts.detections.dropped == Counter(
        {"same as another crop": 2, "photo: fewer than min_items categories": 1}
    )
    ids = {p.item_id for own in done.sets.values() for o in own for p in o.pieces}
    assert {"p01-1", "p01-3", "p03-1", "p00-2"} <= ids
    assert not {"p01-2", "p02-1", "p02-2"} & ids
    again = reap(street, padding=0, others="keep", crop_distance=-1)
    assert again.counts.detections.kept == 3 * COUNT - 1


def test_a_detector_that_looks_is_asked_once_a_photo(street: Path) -> None:
    class Looking:
        name, persons = "looking@1", True
        held: ClassVar[Mapping[str, int]] = {}
        asked: ClassVar[list[str]] = []

        def detect(self, photo: Photo) -> tuple[Detection, ...]:
            self.asked.append(photo.name)
            boxes = tuple(Detection(k, 0.8, Box(*b)) for k, b in BOXES.items())
            return (*boxes, Detection("person", 0.9, Box(0, 0, 100, 200), person=True))

    looking = Looking()
    done = harvest(street / "photos", looking, street / "out", HarvestConfig(background="keep"))
    assert looking.asked == [f"p{n:02d}" for n in range(COUNT)]
    assert done.counts.detections.kept == 3 * COUNT
    assert done.counts.detections.dropped == Counter({"person, no item": COUNT})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda s: [p.unlink() for p in (s / "photos").iterdir()], "holds no photo"),
        (lambda s: (s / "photos" / "p00.jpg").write_bytes(b"x"), "p00.jpg and p00.png have one name"),
        (lambda s: (s / "boxes.csv").write_text("photo,label,x,y,w,h\nq,shirt,1,1,2,2\n"), "none of its 24 photos"),
        (lambda s: add(s, "p00,shirt,1,1,9,9,101,200"), "another size than in line 2"),
        (lambda s: Image.new("RGB", (99, 200)).save(s / "photos" / "p04.png"), "boxes.csv:14: recorded on 100 x 200"),
        (
            lambda s: ((s / "out").mkdir(), (s / "out" / "mine.txt").write_text("x")),
            "is not empty and holds no harvest",
        ),
        (lambda s: (s / "out").write_text("x"), "is a file"),
    ],
)
def test_faults_are_one_line_and_leave_nothing_behind(street: Path, spoil: Any, said: str) -> None:
    spoil(street)
    before = content(street)
    with pytest.raises(HarvestError, match=said):
        reap(street)
    assert content(street) == before


def test_a_harvest_without_an_outfit_says_why_and_keeps_the_old_one(street: Path) -> None:
    before = content(reap(street).out)
    with pytest.raises(HarvestError, match=r"no outfit is left of 24 photos \(24 fewer than min_items"):
        reap(street, min_score=1.0, labels={"shirt": None, "jeans": None})
    assert content(street / "out") == before


def test_the_sheet_has_a_place_for_each_set_and_is_the_same_again(street: Path) -> None:
    done = reap(street)
    one, again, four = draw_sheet(done, 2), draw_sheet(done, 2), draw_sheet(done, 4)
    assert one.tobytes() == again.tobytes()
    assert draw_sheet(done, 2, seed=1).tobytes() != one.tobytes()
    assert four.height > 1.8 * (one.height - 60)
    with pytest.raises(ValueError, match="at least one set"):
        draw_sheet(done, 0)


def test_the_sheet_shows_a_turned_photo_upright_as_its_boxes_are(street: Path) -> None:
    """Stored on its side with orientation 6 (turn clockwise to look at it), or stored upright: one sheet."""
    upright = draw_sheet(reap(street), COUNT)
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (street / "photos").iterdir():
        with Image.open(path) as photo:
            turned = photo.transpose(Image.Transpose.ROTATE_90)
        turned.save(path, exif=exif)
    assert draw_sheet(reap(street), COUNT).tobytes() == upright.tobytes()


def test_the_command(street: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["harvest", "--photos", str(street / "photos"), "--out", str(street / "o")]
    recorded = [*where, "--detections", str(street / "boxes.csv")]
    assert run([*recorded, "--sheet", str(street / "s.png")]) == 0
    assert "24 outfits" in capsys.readouterr().out
    with Image.open(street / "s.png") as sheet:
        assert sheet.width > 1000
    (street / "r.yaml").write_text("labels: {shirt: torso}\n")
    assert run([*recorded, "--config", str(street / "r.yaml")]) == 2
    assert "r.yaml: labels: shirt: category 'torso' is not in the taxonomy" in capsys.readouterr().err
    (street / "r.yaml").write_text("worn_once: [tops, trousers]\n")
    assert run([*recorded, "--config", str(street / "r.yaml")]) == 2
    assert "r.yaml: worn_once: category 'trousers' is not in the taxonomy" in capsys.readouterr().err
    (street / "r.yaml").write_text("min_scor: 1\n")
    assert run([*recorded, "--config", str(street / "r.yaml")]) == 2
    assert run([*recorded, "--detector", "x"]) == 2
    assert run([*where, "--detections", str(street / "none.csv")]) == 4
    assert "none.csv: no such file" in capsys.readouterr().err


@pytest.fixture(scope="module")
def yolos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YOLOS of two layers with random weights: the code's way without a download."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    config = transformers.YolosConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=[96, 64],
        patch_size=16, num_detection_tokens=12, id2label={0: "Shirt", 1: "pants", 2: "person"},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("yolos") / "tiny"
    model = transformers.YolosForObjectDetection(config)
    with torch.no_grad():  # as drawn, all scores are alike
        for name, weights in model.named_parameters():
            if "position" in name or "detection_tokens" in name or name.startswith(("class_labels", "bbox")):
                weights.copy_(0.3 * torch.randn_like(weights))
    model.save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 96}
    transformers.YolosImageProcessor(size=size).save_pretrained(folder)
    return folder


def test_a_transformers_detector_agrees_with_the_model_by_hand(yolos: Path, tmp_path: Path) -> None:
    import torch
    from transformers import YolosForObjectDetection, YolosImageProcessor

    from medal_model.harvest.object_detector import ObjectDetector

    pixels = np.random.default_rng(0).integers(0, 255, (200, 100, 3)).astype(np.uint8)
    detector = ObjectDetector(str(yolos), floor=0.0)
    found = detector.detect(Photo("a", tmp_path, "", pixels))
    assert detector.persons
    assert detector.held == {}
    assert found == detector.detect(Photo("a", tmp_path, "", pixels))
    model = YolosForObjectDetection.from_pretrained(yolos).eval()
    inputs = YolosImageProcessor.from_pretrained(yolos)(images=Image.fromarray(pixels), return_tensors="pt")
    with torch.no_grad():
        output = model(pixel_values=inputs["pixel_values"])
    want = []
    for logits, (cx, cy, w, h) in zip(output.logits[0].softmax(-1), output.pred_boxes[0].tolist(), strict=True):
        score, label = logits[:-1].max(-1)
        box = Box((cx - w / 2) * 100, (cy - h / 2) * 200, w * 100, h * 200).clipped(100, 200)
        want.append((float(score), ("shirt", "pants", "person")[int(label)], box))
    want.sort(key=lambda x: -x[0])
    assert len(found) == len(want) == 12
    for d, (score, label, box) in zip(found, want, strict=True):
        assert d.score == pytest.approx(score, abs=1e-5)
        assert (d.label, d.person) == (label, label == "person")
        assert [d.box.x, d.box.y, d.box.w, d.box.h] == pytest.approx([box.x, box.y, box.w, box.h], abs=1e-2)
    assert len({d.label for d in found}) > 1
    cut = (found[4].score + found[5].score) / 2
    assert len(ObjectDetector(str(yolos), floor=cut).detect(Photo("a", tmp_path, "", pixels))) == 5


def test_a_detector_is_named_by_its_weights(yolos: Path) -> None:
    from medal_model.harvest.object_detector import ObjectDetector

    name = ObjectDetector(str(yolos)).name
    assert name.startswith("tiny@")
    assert ObjectDetector(str(yolos), ("shirt",)).name == name


def test_a_detector_that_cannot_be_had_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from medal_model.harvest.object_detector import ObjectDetector

    (tmp_path / "empty").mkdir()
    with pytest.raises(DetectorError, match=r"cannot be loaded .*--local-dir DIR.*recorded --detections") as e:
        ObjectDetector(str(tmp_path / "empty"))
    assert "\n" not in str(e.value)
    where = ["--photos", str(tmp_path), "--out", str(tmp_path / "o"), "--detector", str(tmp_path / "empty")]
    assert run(["harvest", *where]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.real_data
def test_street_photos_with_recorded_boxes(tmp_path: Path) -> None:
    if not STREET.is_dir():
        pytest.skip(f"{STREET} is not there")
    rules = HarvestConfig(background="keep")  # half the time
    done = harvest(STREET / "photos", RecordedDetector(STREET / "boxes.csv"), tmp_path / "street", rules)
    photos, found = done.counts.photos, done.counts.detections
    assert (photos.taken, found.taken) == (260, 1387)
    assert photos.kept >= 250
    assert 1050 <= found.kept <= 1200
    assert not [why for why in found.dropped if why.startswith("label unknown")]
    read = read_outfits(done.out, "disjoint", load_taxonomy().category)
    assert sum(len(own) for own in read.sets.values()) == photos.kept
    for own in read.sets.values():
        for outfit in own:
            kinds = [read.items[i].category for i in outfit]
            assert len(set(kinds)) == len(kinds) >= 2
            assert "all-body" not in kinds or not {"tops", "bottoms"} & set(kinds)
