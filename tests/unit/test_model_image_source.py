"""Photos from a folder and from parquet: the same bytes by item id, and every fault of a file in one line."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from child_memory import PEAK_MIB
from PIL import Image

from medal_model import features
from medal_model.backbones import random_spec
from medal_model.features import Extractor, cached_features
from medal_model.image_source import FolderImages, ImageSource, ImageSourceError, NoImage, ParquetImages, open_images
from medal_model.outfits import Item, Outfits, OutfitsError, Question
from medal_model.recipe import read_gallery

HUB = pa.schema([("item_id", pa.string()), ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))])
BACKBONE = "mobilenetv3_small_050"


def _photo(item_id: str) -> bytes:
    rng = np.random.default_rng(int(item_id, 36))
    out = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(out, "JPEG")
    return out.getvalue()


def _parquet(path: Path, ids: Sequence[str | None], photo: Callable[[Any], Any] = _photo, rows: int = 3) -> Path:
    """Item ids with their photos, `rows` to a row group."""
    images = [{"bytes": photo(i), "path": f"{i}.jpg"} for i in ids]
    pq.write_table(pa.table({"item_id": ids, "image": images}, schema=HUB), path, row_group_size=rows)
    return path


def _folder(root: Path, ids: Sequence[str]) -> FolderImages:
    root.mkdir()
    for i in ids:
        (root / f"{i}.jpg").write_bytes(_photo(i))
    return FolderImages(root)


IDS = [f"i{n}" for n in range(8)]


def _one_folder(root: Path) -> ImageSource:
    _folder(root / "photos", IDS)
    return open_images(root / "photos")


def _one_file(root: Path) -> ImageSource:
    return open_images(_parquet(root / "photos.parquet", IDS))


def _files(root: Path) -> ImageSource:
    """As on the hub, a file a split: i2 and i5 stand in two of them."""
    (root / "photos").mkdir()
    _parquet(root / "photos" / "train.parquet", ["i7", "i2", "i0", "i5", "i1"])
    _parquet(root / "photos" / "test.parquet", ["i3", "i5", "i2", "i4", "i6"], rows=1)
    return open_images(root / "photos")


@pytest.mark.parametrize("make", [_one_folder, _one_file, _files])
def test_every_source_keeps_the_contract(make: Callable[[Path], ImageSource], tmp_path: Path) -> None:
    source = make(tmp_path)
    for order in (IDS, IDS[::-1], random.Random(0).sample(IDS * 3, 24), source.order(IDS)):
        assert [source.read(i) for i in order] == [_photo(i) for i in order]
    assert sorted(source.order(IDS)) == IDS
    assert source.missing([*IDS, "zz"]) == ("zz",)
    with pytest.raises(OSError, match=r"no row has item_id zz|No such file"):
        source.read("zz")
    assert source.where("i3").startswith(str(tmp_path))
    assert "i3" in source.where("i3")


def test_the_order_is_that_of_the_rows(tmp_path: Path) -> None:
    source = _files(tmp_path)
    assert source.order(IDS) == ["i3", "i5", "i2", "i4", "i6", "i7", "i0", "i1"]
    assert source.where("i0") == f"{tmp_path}/photos/train.parquet: row group 0, row 2: i0"


def test_an_id_that_is_no_file_name_leads_nowhere(tmp_path: Path) -> None:
    source = _folder(tmp_path / "photos", ["a"])
    (tmp_path / "out.jpg").write_bytes(b"secret")
    for odd in ("../out", "a\0", "/etc/passwd"):
        with pytest.raises(NoImage, match="is no file name"):
            source.read(odd)


def _table(**columns: Any) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.table(columns), path)


def _two(first: Callable[[str], Any], second: Callable[[str], Any]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        _parquet(path.with_name("a.parquet"), ["a", "b", "c", "x"], first)
        _parquet(path, ["d", "x"], second)

    return write


STRUCT = pa.array([{"bytes": b"x"}])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: p.write_bytes(b""), "cannot be read as parquet"),
        (lambda p: p.write_bytes(b"PAR1 but cut"), "cannot be read as parquet"),
        (_table(id=["a"], image=STRUCT), "has no column item_id; needs item_id .* has id, image"),
        (_table(item_id=["a"], photo=STRUCT), "has no column image; .* has item_id, photo"),
        (_table(item_id=[1], image=STRUCT), "item_id is int64; needs item_id"),
        (_table(item_id=["a"], image=[b"x"]), "image is binary; needs"),
        (_table(item_id=["a"], image=[{"path": "a.jpg"}]), "image is struct<path: string>; needs"),
        (_table(item_id=["a"], image=[{"bytes": "text"}]), "image is struct<bytes: string>; needs"),
        (lambda p: _parquet(p, ["a", "b", "c", "d", None], lambda i: b"x"), "row group 1, row 1: item_id is null"),
        (lambda p: _parquet(p, ["a", ""], str.encode), "row group 0, row 1: item_id is empty"),
        (
            lambda p: _parquet(p, ["a", "b", "c", "d", "b"], str.encode),
            "z.parquet: row group 1, row 1: item_id b stands twice, first in .*z.parquet: row group 0, row 1$",
        ),
        (
            _two(lambda i: b"one", lambda i: b"other"),
            "z.parquet: row group 0, row 1: item_id x has another photo than in .*a.parquet: row group 1, row 0$",
        ),
        (_two(lambda i: b"one", lambda i: None), "z.parquet: row group 0, row 1: item_id x has another photo"),
    ],
)
def test_a_broken_file_is_named_with_row_group_row_and_key(
    spoil: Callable[[Path], Any], said: str, tmp_path: Path
) -> None:
    spoil(tmp_path / "z.parquet")
    with pytest.raises(ImageSourceError, match=said) as e:
        open_images(tmp_path)
    assert str(tmp_path) in str(e.value)
    assert "\n" not in str(e.value)


def test_a_null_photo_is_that_items_fault_alone(tmp_path: Path) -> None:
    source = open_images(_parquet(tmp_path / "z.parquet", IDS, lambda i: None if i == "i4" else _photo(i)))
    assert source.read("i3") == _photo("i3")
    with pytest.raises(NoImage, match=r"image\.bytes is null"):
        source.read("i4")
    assert source.where("i4") == f"{tmp_path}/z.parquet: row group 1, row 1: i4"


def test_damage_inside_a_file_names_the_row_group(tmp_path: Path) -> None:
    path = _parquet(tmp_path / "z.parquet", IDS, lambda i: random.Random(i).randbytes(5000))
    meta = pq.ParquetFile(path).metadata.row_group(1)
    column = next(meta.column(n) for n in range(meta.num_columns) if meta.column(n).path_in_schema == "image.bytes")
    data = bytearray(path.read_bytes())
    begin = column.dictionary_page_offset or column.data_page_offset
    data[begin : begin + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    source = open_images(path)
    assert len(source.read("i0")) == 5000
    with pytest.raises(ImageSourceError, match=r"z.parquet: row group 1: photos cannot be read"):
        source.read("i3")
    assert len(source.read("i7")) == 5000


def test_what_holds_no_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageSourceError, match="no such file or folder; photos are a folder of"):
        open_images(tmp_path / "gone")
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(ImageSourceError, match="is no parquet file"):
        open_images(tmp_path / "photos.zip")
    (tmp_path / "a.jpg").write_bytes(_photo("a"))
    _parquet(tmp_path / "a.parquet", ["a"])
    with pytest.raises(ImageSourceError, match=r"holds a.parquet and a.jpg; which are the photos"):
        open_images(tmp_path)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """One row group of 200 MB, and one of 400 MB: the second reading may take a quarter of the 200 MB between more."""
    code = (
        f"{PEAK_MIB}\n"
        "import sys; from pathlib import Path; from medal_model.image_source import open_images\n"
        "source, n = open_images(Path(sys.argv[1])), int(sys.argv[2])\n"
        "print(sum(len(source.read(i)) for i in source.order(f'i{k}' for k in range(n))), peak_mib())"
    )
    peaks = []
    for n in (2000, 4000):
        ids = [f"i{k}" for k in range(n)]
        path = _parquet(tmp_path / f"{n}.parquet", ids, lambda i: random.Random(i).randbytes(100_000), n)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), str(n)], capture_output=True, text=True, check=True
        )
        total, peak = done.stdout.split()
        assert int(total) == n * 100_000
        peaks.append(float(peak))
    assert peaks[1] - peaks[0] < 50


def test_a_source_that_is_open_is_not_opened_again(tmp_path: Path) -> None:
    source = _files(tmp_path)
    assert open_images(source) is source


class _OneRow:
    """In an extractor's place: a row of zeros an image."""

    def extract(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(len(images), 4), torch.zeros(len(images), 8)


def test_the_cache_is_saved_often_and_yet_not_written_over_and_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most an eighth is ever unsaved (two images at first), and all writes together are nine times the file."""
    monkeypatch.setattr(features, "_EVERY", 2)
    written: list[int] = []
    save = features.save_file
    monkeypatch.setattr(
        features, "save_file", lambda arrays, path: written.append(len(arrays["keys"])) or save(arrays, path)
    )
    store = features._Cache(tmp_path / "cache.safetensors")
    for n in range(1, 301):
        store.add([(f"{n:064x}", torch.zeros(3, 2, 2))], _OneRow())  # type: ignore[arg-type]
        assert n - (written[-1] if written else 0) <= max(2, n / 8)
    store.save()
    assert written[-1] == 300
    assert sum(written) <= 9 * 300
    assert len(features._Cache(store.path).rows) == 300


def test_features_and_their_cache_do_not_depend_on_the_source(tmp_path: Path) -> None:
    """The key is the photo's content: what the folder filled, parquet finds; rows come in the order asked for."""
    ids, cache = IDS[::-1], tmp_path / "cache"
    extractor = Extractor(random_spec(BACKBONE), 64, trim=False)
    first = cached_features(ids, _folder(tmp_path / "photos", IDS), extractor, cache, quiet=True)
    second = cached_features(ids, _one_file(tmp_path), extractor, cache, quiet=True)
    assert (first.computed, second.computed) == (8, 0)
    assert first.ids == second.ids == tuple(ids)
    assert np.array_equal(first.features, second.features)
    assert np.array_equal(first.histograms, second.histograms)


def _outfits(root: Path) -> Outfits:
    items = {i: Item(i, "tops", "1") for i in IDS}
    nothing: dict[str, tuple[Any, ...]] = {"valid": (), "test": ()}
    asked = {"valid": (Question(("i0",), ("i1", "i2"), 0), Question(("i0",), ("i2", "i3"), 0)), "test": ()}
    left_out = {"fitb_valid: an answer's category is dropped": 2}
    return Outfits(root, "nondisjoint", items, {"train": (tuple(IDS),), **nothing}, asked, nothing, {}, left_out)


def test_a_gallery_from_parquet_leaves_out_and_names_what_cannot_be_read(tmp_path: Path) -> None:
    odd = {"i1": None, "i4": b"<html>gone</html>"}
    path = _parquet(tmp_path / "z.parquet", IDS[:7], lambda i: odd.get(i, _photo(i)))
    said: list[str] = []
    extractor = Extractor(random_spec(BACKBONE), 64, trim=False)
    kept, gallery, _, _ = read_gallery(_outfits(tmp_path), path, extractor, tmp_path / "cache", said.append, True)
    assert gallery.ids == ("i0", "i2", "i3", "i5", "i6")
    assert kept.sets["train"] == (gallery.ids,)
    assert said == [
        f"3 images left out, the first: {path}: row group 0, row 1: i1: "
        "missing: image.bytes is null; the photo itself must be in the file",
        "1 left out of fitb_valid: a photo cannot be read",
    ]


@pytest.mark.parametrize(
    ("ids", "photo", "said"),
    [
        (["other"], _photo, "none of 8 items has a photo here; the first would be .*z.parquet: i0"),
        (IDS, lambda i: None, "none of 8 photos can be read; .*row 0: i0: missing: image.bytes is null"),
    ],
)
def test_no_photo_at_all_is_an_error(ids: list[str], photo: Any, said: str, tmp_path: Path) -> None:
    path = _parquet(tmp_path / "z.parquet", ids, photo)
    extractor = Extractor(random_spec(BACKBONE), 64, trim=False)
    with pytest.raises(OutfitsError, match=said):
        read_gallery(_outfits(tmp_path), path, extractor, tmp_path / "cache", lambda line: None, True)


def test_a_file_without_rows_has_no_photo(tmp_path: Path) -> None:
    source = open_images(_parquet(tmp_path / "z.parquet", []))
    assert isinstance(source, ParquetImages)
    assert source.missing(["a"]) == ("a",)
