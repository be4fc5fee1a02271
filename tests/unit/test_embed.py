"""The embed stage: each kind of image ends in its state, and nothing is lost or done twice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from embed_shop import Shop, encoded, picture
from PIL import Image

from jobs.embed.job import run as embed
from jobs.errors import DataError, LeaseHeld, SettingsError
from jobs.lease import held
from jobs.plan import PlanRequest, plan_run
from jobs.runs import Manifest
from jobs.settings import EmbedSettings
from jobs.stage import open_lake, run_stage

pytestmark = pytest.mark.timeout(120)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90°
    return encoded(picture().rotate(90, expand=True), "JPEG", exif=exif, quality=95)


def palette() -> bytes:
    image = picture().convert("RGBA")
    image.putpixel((0, 0), (0, 0, 0, 0))
    for x in range(30):
        for y in range(160):
            image.putpixel((x, y), (0, 0, 0, 0))
    return encoded(image.quantize(16), "PNG")


JPEG = encoded(picture(), "JPEG", quality=95)
# kind of image -> (bytes, state, error class). One row a kind; the next kind of bad image is a row here.
KINDS: dict[str, tuple[bytes | None, str, str | None]] = {
    "good": (JPEG, "embedded", None),
    "truncated": (JPEG[: len(JPEG) // 2], "quarantined", "truncated"),
    "empty": (b"", "quarantined", "empty"),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", "quarantined", "not_an_image"),
    "cmyk": (encoded(picture().convert("CMYK"), "JPEG", quality=95), "embedded", None),
    "palette": (palette(), "embedded", None),
    "rotated": (rotated(), "embedded", None),
    "missing": (None, "quarantined", "missing"),
    "folder": (None, "quarantined", "not_a_file"),
}


@pytest.fixture
def shop(tmp_path: Path, teacher_dir: Path) -> Shop:
    return Shop(tmp_path, teacher_dir)


def test_every_kind_of_image_has_its_outcome(shop: Shop) -> None:
    for kind, (data, _, _) in KINDS.items():
        shop.put(kind, data)
    (shop.root / "images" / "folder.jpg").mkdir()
    result, states = shop.night("2026-01-01")
    assert states == {kind: state for kind, (_, state, _) in KINDS.items()}
    assert {i: r["error_class"] for i, r in shop.quarantine().items()} == {
        kind: error for kind, (_, _, error) in KINDS.items() if error
    }
    assert {k: int(result.counts[k]) for k in ("embedded", "quarantined")} == {"embedded": 4, "quarantined": 5}
    good = shop.vector("good")
    assert abs(float(np.linalg.norm(good)) - 1) < 1e-5
    # The same picture, whatever its encoding. A lossless copy scores 0.96 beside the JPEG; a rotation not undone
    # 0.85, black behind transparency 0.79, inverted CMYK 0.24.
    for kind in ("cmyk", "palette", "rotated"):
        assert float(good @ shop.vector(kind)) > 0.92, kind


def test_nothing_is_read_again_and_a_new_photo_is(shop: Shop) -> None:
    for i in range(5):
        shop.put(f"i{i}", encoded(picture((40 * i, 90, 60)), "JPEG"))
    shop.night("2026-01-01")
    result, states = shop.night("2026-01-02")
    assert result.status == "skipped" and result.counts["images_read"] == 0
    assert set(states.values()) == {"unchanged"}
    shop.put("i1", encoded(picture((10, 200, 10)), "JPEG"), mtime=2)
    shop.put("new", encoded(picture((1, 1, 250)), "JPEG"), mtime=2)
    result, states = shop.night("2026-01-03")
    assert Counter(states.values()) == {"unchanged": 4, "embedded": 2}
    assert result.counts["images_read"] == 2


def test_a_night_without_a_new_photo_loads_nothing_heavy(shop: Shop) -> None:
    shop.put("a", JPEG)
    shop.night("2026-01-01")
    request = PlanRequest("2026-01-02", shop.root / "catalog.csv", shop.teacher)
    run_id = plan_run(request, shop.settings).plan.run_id
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from jobs.embed.job import run\n"
            "from jobs.settings import Settings\n"
            "from jobs.stage import run_stage\n"
            f"run_stage('embed', run, Settings(lake={shop.settings.lake!r}), {run_id!r})\n"
            "print(sorted({'torch', 'timm', 'numba', 'PIL'} & set(sys.modules)))",
        ],
        capture_output=True,
        text=True,
    )
    assert told.stdout.strip() == "[]" and "skipped" in told.stderr, told.stderr


def test_the_same_bytes_are_not_embedded_twice(shop: Shop) -> None:
    shop.put("a", JPEG)
    shop.night("2026-01-01")
    shop.put("b", JPEG)
    shop.put("c", JPEG)
    _, states = shop.night("2026-01-02")
    assert states == {"a": "unchanged", "b": "reused", "c": "reused"}
    assert (shop.vector("a") == shop.vector("c")).all()


def test_a_touched_file_is_read_but_not_embedded(shop: Shop) -> None:
    shop.put("a", JPEG)
    shop.night("2026-01-01")
    shop.put("a", JPEG, mtime=99)
    result, states = shop.night("2026-01-02")
    assert states == {"a": "unchanged"} and result.counts["images_read"] == 1
    result, _ = shop.night("2026-01-03")
    assert result.counts["images_read"] == 0, "the new modification time was not remembered"


def test_a_photo_that_changes_and_changes_back_gets_its_own_vector_each_time(shop: Shop) -> None:
    other = encoded(picture((20, 20, 200)), "JPEG")
    vectors = []
    for day, (data, mtime) in enumerate([(JPEG, 1), (other, 2), (JPEG, 3), (JPEG, 3)], start=1):
        shop.put("a", data, mtime)
        shop.night(f"2026-01-0{day}")
        vectors.append(shop.vector("a"))
    assert (vectors[0] != vectors[1]).any()
    assert (vectors[0] == vectors[2]).all() and (vectors[0] == vectors[3]).all()


def test_an_unreadable_new_photo_keeps_the_old_vector(shop: Shop) -> None:
    shop.put("a", JPEG)
    shop.night("2026-01-01")
    before = shop.vector("a")
    shop.put("a", JPEG[:300], mtime=2)
    for date in ("2026-01-02", "2026-01-03"):
        _, states = shop.night(date)
        assert states == {"a": "stale_vector"}
        assert (shop.vector("a") == before).all()
    shop.put("a", encoded(picture((9, 99, 9)), "JPEG"), mtime=3)
    _, states = shop.night("2026-01-04")
    assert states == {"a": "embedded"} and shop.quarantine() == {}


def test_quarantine_waits_longer_each_time_and_not_at_all_for_a_new_photo(shop: Shop) -> None:
    shop.put("a", b"not an image")
    waits, reads = [], []
    for day in range(1, 9):
        result, states = shop.night(f"2026-01-{day:02d}")
        reads.append(int(result.counts["images_read"]))
        row = shop.quarantine()["a"]
        waits.append((row["attempts"], row["retry_from"]))
        assert states == {"a": "quarantined"}
    assert reads == [1, 1, 0, 1, 0, 0, 0, 1]  # waits of 1, 2, 4 and 8 days
    assert waits[-1] == (4, "2026-01-16")
    shop.put("a", JPEG, mtime=5)
    _, states = shop.night("2026-01-09")
    assert states == {"a": "embedded"}


def test_a_vector_does_not_depend_on_its_batch_mates(shop: Shop, tmp_path: Path) -> None:
    images = {f"i{n}": encoded(picture((25 * n, 250 - 25 * n, 128)), "JPEG") for n in range(9)}
    for item, data in images.items():
        shop.put(item, data)
    shop.night("2026-01-01")
    for item, data in images.items():
        alone = Shop(tmp_path / f"alone-{item}", shop.teacher)
        alone.put(item, data)
        alone.night("2026-01-01")
        assert (alone.vector(item) == shop.vector(item)).all(), item
        if item == "i3":
            break


def test_cuda_without_a_device_is_an_error(shop: Shop) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    shop.put("a", JPEG)
    shop.settings = shop.settings.model_copy(update={"embed": EmbedSettings(device="cuda")})
    with pytest.raises(SettingsError, match="no usable CUDA device"):
        shop.night("2026-01-01")


def test_a_lost_lease_stops_the_writer(shop: Shop) -> None:
    for n in range(4):
        shop.put(f"i{n}", encoded(picture((60 * n, 0, 0)), "JPEG"))
    (shop.root / "catalog.csv").write_text(
        "item_id,category,image\n" + "".join(f"{i},tops,{p}\n" for i, p in shop.items.items())
    )
    plan = plan_run(PlanRequest("2026-01-01", shop.root / "catalog.csv", shop.teacher), shop.settings).plan
    lake = open_lake(shop.settings)
    with held(lake, "first", 60) as lease:
        lake.files.write("lease.json", b"{}")  # another writer took over
        lease._lost.set()
        with pytest.raises(LeaseHeld, match="was lost"):
            run_stage("embed", embed, shop.settings, plan.run_id, lease)
    assert lake.version("embeddings") == -1


def test_a_teacher_that_is_none_is_a_clear_error(shop: Shop, tmp_path: Path) -> None:
    broken = tmp_path / "teacher"
    shutil.copytree(shop.teacher, broken)
    (broken / "model.safetensors").write_bytes(b"junk")
    shop.put("a", JPEG)
    shop.teacher = broken
    with pytest.raises(DataError, match=r"model\.safetensors"):
        shop.night("2026-01-01")


def test_a_manifest_survives_a_round_trip(shop: Shop) -> None:
    shop.put("a", JPEG)
    shop.night("2026-01-01")
    manifest = open_lake(shop.settings).manifest("2026-01-01-all-g1")
    assert Manifest.from_json(manifest.to_json(), "x") == manifest
