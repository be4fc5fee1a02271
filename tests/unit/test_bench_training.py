"""`medal bench training`: a ratio of rates measured on the same views, and costs told by number of items."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jobs.bench.training import ITEMS_AN_OUTFIT, KINDS, drawn_data, read_data
from jobs.cli import run
from medal_model.training_speed import Cost, Ratio, exponent
from schemas.taxonomy import load_taxonomy

SMALL = ["bench", "training", "--preset", "tiny_test", "--items", "40", "--rounds", "1", "--steps", "1",
         "--cost-steps", "1", "--threads", "1"]  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The command's JSON, of a tiny network."""
    out = tmp_path_factory.mktemp("bench") / "sub" / "speed.json"
    assert run([*SMALL, "--sizes", "40,80,160", "--out", str(out)]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.parametrize("mode", ["whole", "frozen"])
def test_the_ratio_is_that_of_the_measured_rates(mode: str, told: dict[str, Any]) -> None:
    own = told[mode]
    assert own["ratio"] == pytest.approx(own["trainer"] / own["bare"])
    assert (own["rounds"], own["steps"], own["threads"]) == (1, 1, 1)
    assert min(own["trainer"], own["bare"], own["cpu_ratio"]) > 0


def test_images_are_views_through_networks(told: dict[str, Any]) -> None:
    # tiny_test: 8 photos, two global views through teacher and student, two local ones through the student
    metric = told["whole"]["images"] - 8 * (2 + 2 + 2)
    assert 0 < metric <= 40  # distinct photos of the triplets
    assert told["frozen"]["images"] == 40  # a batch of 2,048 triplets holds every item of this set once


@pytest.mark.parametrize("mode", ["whole", "frozen"])
def test_an_epochs_cost_is_its_steps_and_every_size_is_told(mode: str, told: dict[str, Any]) -> None:
    sizes = told[f"{mode}_epoch"]["sizes"]
    assert [c["items"] for c in sizes] == [40, 80, 160]
    batch = 16 if mode == "whole" else 2048
    for c in sizes:
        assert c["outfits"] == c["items"] / ITEMS_AN_OUTFIT
        assert c["triplets"] <= c["outfits"] * len(KINDS) * (len(KINDS) - 1)
        assert c["steps"] == math.ceil(c["triplets"] / batch)
        assert c["seconds"] == pytest.approx(c["step_seconds"] * c["steps"])
    costs = [Cost(c["items"], c["outfits"], c["triplets"], c["steps"], c["step_seconds"]) for c in sizes]
    assert told[f"{mode}_epoch"]["exponent"] == pytest.approx(exponent(costs))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_the_power(power: float) -> None:
    costs = [Cost(n, n, n, n, 3.0 * n**power / n) for n in (10, 40, 90)]
    assert exponent(costs) == pytest.approx(power)
    with pytest.raises(ValueError, match="two sizes"):
        exponent(costs[:1])


def test_rates_give_the_ratio() -> None:
    assert Ratio(trainer=30.0, bare=40.0, cpu_ratio=0.7, rounds=1, steps=1, images=1.0, threads=1).ratio == 0.75


def test_drawn_outfits_hold_one_item_of_each_kind_and_pictures_are_smooth_on_white() -> None:
    data = drawn_data(40, size=64)
    assert data.pixels is not None
    for outfit in data.outfits.sets["train"]:
        assert [data.outfits.items[i].category for i in outfit] == list(KINDS)
    assert bool((data.pixels[:, :, 0] == 255).all())
    inner = data.pixels[:, :, 9:55, 9:55].to(torch.int16)
    assert int(inner.diff(dim=-1).abs().max()) < 64
    assert len(np.unique(inner.flatten(1).numpy(), axis=0)) == 40
    assert np.array_equal(drawn_data(40, size=64).pixels.numpy(), data.pixels.numpy())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--sizes", "10,many"], "--sizes 10,many: must be whole numbers"),
        (["--preset", "lite0_cpu_frozen"], "--preset lite0_cpu_frozen must train the backbone"),
        (["--frozen-preset", "tiny_test"], "--frozen-preset tiny_test must not"),
        (["--preset", "vit_l"], "preset 'vit_l' is unknown"),
        (["--items", "3"], "3 items are too few"),
        (["--sizes", "5"], "--sizes 5: must be whole numbers from 10 on"),
        (["--sizes", "40,40"], "--sizes 40,40: must be whole numbers from 10 on, none twice"),
    ],
)
def test_what_cannot_be_measured_is_one_line(changed: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, *changed]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()  # nothing was measured before
    assert said in line


def _packed(images: Path, out: Path) -> Path:
    photos = sorted(images.glob("*.jpg"))
    rows = [{"bytes": p.read_bytes(), "path": p.name} for p in photos]
    pq.write_table(pa.table({"item_id": [p.stem for p in photos], "image": rows}), out)
    return out


def test_a_real_set_is_the_same_from_parquet_as_from_a_folder(sample: Path) -> None:
    packed = _packed(sample / "images", sample / "photos.parquet")
    folder, parquet = (
        read_data(sample / "outfits", images, 32, True, load_taxonomy(), 5) for images in (sample / "images", packed)
    )
    assert folder.pixels is not None and parquet.pixels is not None
    assert parquet.gallery.ids == folder.gallery.ids
    assert torch.equal(parquet.pixels, folder.pixels)
    assert len(folder.pixels) == len(folder.gallery.ids)


def test_a_photo_that_cannot_be_used_names_its_place(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = [*SMALL, "--outfits", str(sample / "outfits"), "--images"]
    assert run([*where, str(sample / "nothing")]) == 4
    assert f"{sample}/nothing: no such file or folder" in capsys.readouterr().err.strip().splitlines()[-1]
    for path in (sample / "images").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    assert run([*where, str(sample / "images")]) == 4
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(rf"{sample}/images/\w+\.jpg: truncated: ", line)
    packed = _packed(sample / "images", sample / "photos.parquet")
    assert run([*where, str(packed)]) == 4
    assert re.search(r"photos\.parquet: row group 0, row \d+: \w+: truncated: ", capsys.readouterr().err)
    for path in (sample / "images").iterdir():
        path.unlink()
    assert run([*where, str(sample / "images")]) == 4
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(rf"{sample}/images/\w+\.jpg: cannot be read: No such file.*--images", line)
