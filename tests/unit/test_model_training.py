"""The trainer: who gets which gradient, the moving average, resuming, several processes, the curriculum, crops."""

from __future__ import annotations

import dataclasses
import math
import os
import socket
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compatibility_world import CATEGORIES, draw_world

from medal_model import checkpoints, distributed
from medal_model.backbones import load_backbone, random_spec
from medal_model.config import PRESETS, TrainConfig, make_config, preset, read_config
from medal_model.crops import cut, garment_boxes, shuffle_tiles, without_colour
from medal_model.curriculum import Views, teacher_temperature, views_at, warmed_cosine
from medal_model.gallery import Gallery
from medal_model.inputs import Network, Texts
from medal_model.losses import dino_cross_entropy, sinkhorn_targets
from medal_model.monitors import Means
from medal_model.optimiser import clip_parts, set_rate
from medal_model.outfits import Outfits
from medal_model.settings_file import ConfigError
from medal_model.steps import metric_term, self_term
from medal_model.student import MedalModel, follow
from medal_model.training import Trainer, check_views

SMALL: dict[str, Any] = {"epochs": 3, "batch_size": 128, "negatives": 2, "patience": 10, "warmup": 2}


def tiny(**changes: Any) -> TrainConfig:
    return make_config({**preset("tiny_test"), "epoch_steps": 3, **changes})


def pictures(many: int, size: int = 64) -> torch.Tensor:
    """Grey ground, a garment of one colour in the middle."""
    rng = np.random.default_rng(0)
    x = np.full((many, 3, size, size), 245, np.uint8)
    for n in range(many):
        x[n, :, 16:48, 20:44] = rng.integers(0, 200, 3)[:, None, None]
        x[n, :, 20:44:4, 24:40] = rng.integers(0, 200, 3)[:, None, None]
    return torch.from_numpy(x)


def whole(config: TrainConfig, texts: bool = True, seen: int = 24) -> Trainer:
    """A trainer of the whole network on a small drawn world."""
    outfits, gallery = draw_world(per_kind=6, outfits=40)
    spec = random_spec(config.backbone)
    backbone = load_backbone(spec)
    pixels = pictures(len(gallery.ids))
    with torch.inference_mode():
        features = backbone(pixels.float() / 255).numpy()
    gallery = Gallery(gallery.ids, gallery.categories, features, gallery.histograms)
    network = Network(backbone, spec.mean, spec.std, pixels, np.arange(seen))
    rng = np.random.default_rng(1)
    table = Texts(rng.normal(size=(len(gallery.ids), 12)).astype(np.float32), np.ones(len(gallery.ids), bool))
    return Trainer(outfits, gallery, CATEGORIES, config, network=network, texts=table if texts else None)


def cached(config: TrainConfig, told: bool | None = None) -> Trainer:
    """A trainer of heads and masks on a small drawn world; with text where `told` says of all items whether they are
    described."""
    outfits, gallery = draw_world(per_kind=6, outfits=60)
    many = len(gallery.ids)
    vectors = np.random.default_rng(2).normal(size=(many, 5)).astype(np.float32)
    texts = None if told is None else Texts(vectors, np.full(many, told))
    return Trainer(outfits, gallery, CATEGORIES, config, texts=texts)


def touched(trainer: Trainer) -> set[str]:
    """Parts of the student (and the teacher) that hold a gradient other than zero."""
    found = {
        name
        for name, own in trainer.parts.items()
        if any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in own)
    }
    return found | ({"teacher"} if any(p.grad is not None for p in trainer.teacher.parameters()) else set())


def test_the_triplet_and_text_terms_reach_all_but_the_self_supervised_head() -> None:
    trainer = whole(tiny())
    trainer.student.train()
    batch = next(iter(trainer._batches(1)))
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():  # masks at w = 1 would get almost no gradient from a symmetric start
        trainer.student.masks.logits.normal_(generator=rng)
    metric_term(trainer.student, trainer.projection, trainer.inputs, batch, trainer.config, rng).loss.backward()
    assert touched(trainer) == {"backbone", "visual", "colour", "masks", "text"}


def test_a_share_of_the_hinge_is_across_anchors() -> None:
    """Linear in the share, other negatives at another step, nothing drawn where it is 0."""
    trainer = cached(make_config({**SMALL, "drop": 0.0}))
    batch = next(iter(trainer._batches(1)))

    def loss(share: float, seed: int) -> float:
        config, rng = dataclasses.replace(trainer.config, across=share), torch.Generator().manual_seed(seed)
        return float(metric_term(trainer.student, None, trainer.inputs, batch, config, rng).loss.detach())

    none, half, whole_of_it = (loss(share, 0) for share in (0.0, 0.5, 1.0))
    assert half == pytest.approx((none + whole_of_it) / 2, rel=1e-5)
    assert loss(0.0, 1) == none
    assert len({none, whole_of_it, loss(1.0, 1)}) == 3


def test_the_text_term_takes_other_rows_at_every_step() -> None:
    """Of more described rows than a step takes; each row's text vector is its number."""
    outfits, gallery = draw_world(per_kind=90, outfits=600)
    many = len(gallery.ids)
    table = Texts(np.arange(many, dtype=np.float32)[:, None], np.ones(many, bool))
    config = make_config({**SMALL, "batch_size": 4096})
    trainer = Trainer(outfits, gallery, CATEGORIES, config, texts=table)
    taken: list[set[int]] = []
    assert trainer.projection is not None
    trainer.projection.register_forward_pre_hook(lambda _, args: taken.append(set(args[0][:, 0].int().tolist())))
    batch = next(iter(trainer._batches(1)))
    for _ in range(2):
        trainer._step(1, batch, Means())
    assert [len(rows) for rows in taken] == [512, 512]
    assert len(taken[0] | taken[1]) > 550
    assert min(max(rows) for rows in taken) > many - 20


def test_the_self_supervised_term_reaches_backbone_and_its_head_alone() -> None:
    trainer = whole(tiny())
    trainer.student.train()
    views = views_at(0.0, 2, 0.5, 0.3)
    self_term(
        trainer.student, trainer.teacher, trainer.centre, trainer.inputs, torch.arange(8), views, 0.04,
        trainer.config, torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert touched(trainer) == {"backbone", "dino"}


@pytest.mark.parametrize("balance", ["centre", "sinkhorn"])
def test_the_self_supervised_term_is_the_plain_sum_over_pairs_of_views(
    balance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = whole(tiny(balance=balance))
    trainer.student.train()
    views = Views(local_crops=2, local_scale=(0.2, 0.4), local_weight=0.6, shape_suppression=0.0)
    trainer.centre.value.normal_(0, 0.05, generator=torch.Generator().manual_seed(3))
    centre = trainer.centre.value.clone()
    seen: dict[str, list[torch.Tensor]] = {"teacher": [], "student": []}
    whose = {id(trainer.teacher): "teacher", id(trainer.student): "student"}
    plain = MedalModel.prototype_logits

    def recorded(model: MedalModel, images: torch.Tensor) -> torch.Tensor:
        out = plain(model, images)
        seen[whose[id(model)]].append(out if model is trainer.student else out.detach())
        seen.setdefault("images", []).append(images)
        return out

    monkeypatch.setattr(MedalModel, "prototype_logits", recorded)
    term = self_term(
        trainer.student, trainer.teacher, trainer.centre, trainer.inputs, torch.arange(8), views, 0.05,
        trainer.config, torch.Generator().manual_seed(0),
    )  # fmt: skip
    if balance == "sinkhorn":
        targets = [sinkhorn_targets(t, 0.05) for t in seen["teacher"]]
    else:
        targets = [torch.softmax((t - centre) / 0.05, -1) for t in seen["teacher"]]
    want, weights = 0.0, 0.0
    for v, logits in enumerate(seen["student"]):
        weight = 1.0 if v < 2 else 0.6
        for u, target in enumerate(targets):
            if u == v:
                continue
            rows = [-float((target[r] * torch.log_softmax(logits[r].detach() / 0.1, -1)).sum()) for r in range(8)]
            want, weights = want + weight * sum(rows) / 8, weights + weight
    assert (len(seen["teacher"]), len(seen["student"])) == (2, 4)
    assert term.loss == pytest.approx(want / weights, abs=1e-6)
    probe = trainer.student.dino.mlp[0].weight  # type: ignore[union-attr,index]
    got = probe.grad.clone()
    trainer.student.zero_grad()
    total = torch.zeros(())
    for v, images in enumerate(seen["images"][2:]):  # the student's views once more, now in one graph
        again = plain(trainer.student, images)
        others = [t for u, t in enumerate(targets) if u != v]
        total = total + (1.0 if v < 2 else 0.6) * dino_cross_entropy(again, others, 0.1) / weights
    total.backward()
    assert torch.allclose(got, probe.grad, atol=1e-6)


def test_the_optimiser_holds_what_is_trained_and_nothing_else() -> None:
    trainer = whole(tiny())
    held = {p.data_ptr() for group in trainer.optimiser.param_groups for p in group["params"]}
    assert held == {p.data_ptr() for own in trainer.parts.values() for p in own}
    assert trainer.inputs.text is not None
    assert not trainer.inputs.text.requires_grad
    assert trainer.inputs.text.data_ptr() not in held
    assert not held & {p.data_ptr() for p in trainer.teacher.parameters()}
    assert whole(tiny(), texts=False).projection is None


def test_rates_fall_with_depth_and_masks_are_not_decayed() -> None:
    trainer = whole(tiny(layer_decay=0.5, weight_decay=0.1, backbone_learning_rate=1.0))
    group_of = {p.data_ptr(): group for group in trainer.optimiser.param_groups for p in group["params"]}
    steps = {
        round(math.log(group_of[p.data_ptr()]["initial_lr"], 0.5), 6) for p in trainer.student.backbone.parameters()
    }
    assert steps == set(range(len(steps)))
    assert len(steps) > 3
    stem = group_of[trainer.student.backbone.conv_stem.weight.data_ptr()]["initial_lr"]
    assert stem == min(group["initial_lr"] for group in trainer.optimiser.param_groups)
    for part, own in trainer.parts.items():
        for p in own:
            decayed = group_of[p.data_ptr()]["weight_decay"] > 0
            assert decayed is (part != "masks" and p.ndim > 1), part
    set_rate(trainer.optimiser, 0.25)
    assert all(group["lr"] == 0.25 * group["initial_lr"] for group in trainer.optimiser.param_groups)


def test_clipping_is_by_part_and_says_the_norm_before() -> None:
    parts = {name: [torch.nn.Parameter(torch.zeros(2))] for name in ("large", "small")}
    parts["large"][0].grad, parts["small"][0].grad = torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])
    assert clip_parts(parts, 1.0) == pytest.approx({"large": 5.0, "small": 0.5})
    assert float(parts["large"][0].grad.norm()) == pytest.approx(1.0, abs=1e-4)
    assert float(parts["small"][0].grad.norm()) == pytest.approx(0.5)


@pytest.mark.parametrize("to_one", [False, True])
def test_after_every_step_the_teacher_has_followed(to_one: bool) -> None:
    trainer = cached(make_config({**SMALL, "ema": 0.5, "ema_to_one": to_one}))
    for n, batch in enumerate(trainer._batches(1), 1):
        before = {k: v.clone() for k, v in trainer.teacher.named_parameters()}
        trainer._step(1, batch, Means())
        share = n / (trainer.steps * trainer.config.epochs)
        long = 1 - 0.5 * (math.cos(math.pi * share) + 1) / 2 if to_one else 0.5
        momentum = min(long, (1 + n) / (10 + n))
        for name, p in trainer.teacher.named_parameters():
            want = momentum * before[name] + (1 - momentum) * trainer.student.get_parameter(name)
            assert torch.allclose(p, want, atol=1e-7), name


def test_prototypes_stay_as_they_are_at_first() -> None:
    trainer = whole(tiny(freeze_last=1, epochs=2))
    start = trainer.student.dino.prototypes.detach().clone()  # type: ignore[union-attr]
    held: list[bool] = []
    trainer.run(lambda e: held.append(torch.equal(trainer.student.dino.prototypes, start)))  # type: ignore[union-attr]
    assert held == [True, False]


def test_teacher_and_student_share_no_storage_and_the_average_is_exact() -> None:
    trainer = whole(tiny())
    student, teacher = trainer.student, trainer.teacher
    own, others = ({t.untyped_storage().data_ptr() for t in m.state_dict().values()} for m in (teacher, student))
    assert not own & others
    assert not teacher.training
    with torch.no_grad():
        for p in student.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
        for b in student.buffers():
            b.add_(1)
    before = {k: v.clone() for k, v in teacher.named_parameters()}
    follow(teacher, student, 0.9)
    for name, p in teacher.named_parameters():
        assert torch.equal(p, before[name].mul(0.9).add(student.get_parameter(name), alpha=1.0 - 0.9)), name
        assert not p.requires_grad
    for name, b in teacher.named_buffers():
        assert torch.equal(b, student.get_buffer(name)), name


@pytest.mark.parametrize("balance", ["centre", "sinkhorn"])
def test_training_goes_to_the_end_and_watches_itself(balance: str) -> None:
    trained = whole(tiny(seed=3, balance=balance)).run()
    assert [e.number for e in trained.history] == [1, 2, 3]
    for e in trained.history:
        assert 0 < e.readings.ssl < 1.5
        assert 0 <= e.readings.entropy <= 1
        assert set(e.readings.gradients) == {"backbone", "dino", "visual", "colour", "masks", "text"}
    assert trained.best.score == max(e.score for e in trained.history)


@pytest.mark.parametrize("kind", ["whole network", "cached features", "across anchors"])
def test_a_resumed_run_equals_an_uninterrupted_one(kind: str, tmp_path: Path) -> None:
    def make(folder: Path | None) -> Trainer:
        across = 0.5 if kind == "across anchors" else 0.0
        trainer = whole(tiny()) if kind == "whole network" else cached(make_config({**SMALL, "across": across}))
        trainer.folder = folder
        return trainer

    straight = make(None).run()

    def stop(epoch: Any) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path).run(stop)
    done: list[int] = []
    resumed = make(tmp_path).run(lambda epoch: done.append(epoch.number))
    assert done == [3]
    timeless = [[dataclasses.replace(e, seconds=0.0) for e in t.history] for t in (straight, resumed)]
    assert repr(timeless[0]) == repr(timeless[1])
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for name, value in straight.student.state_dict().items():
        assert torch.equal(value, resumed.student.state_dict()[name]), name


def _swapped(values: Any) -> Any:
    """The same values in another order: the first two change places."""
    return (values[1], values[0], *values[2:])


def _with(owner: str, **changes: Any) -> Any:
    """Of the parts a trainer is made of, one with fields changed: each by a function of the old value."""

    def change(parts: dict[str, Any]) -> None:
        old = parts[owner]
        parts[owner] = dataclasses.replace(old, **{k: f(getattr(old, k)) for k, f in changes.items()})

    return change


def _first(change: Any) -> Any:
    """Changes the first of a mapping's or a tuple's values; of a mapping to tuples, by part, those of valid."""
    return lambda own: {**own, "valid": (change(own["valid"][0]), *own["valid"][1:])}


def _raised(array: Any) -> Any:
    out = array.clone() if isinstance(array, torch.Tensor) else array.copy()
    out[0] = 1 - out[0] if array.dtype in (bool, torch.bool) else out[0] + 1
    return out


CHANGES: dict[str, Any] = {
    "setting": lambda p: p.update(config=dataclasses.replace(p["config"], margin=0.4)),
    "order of categories": lambda p: p.update(categories=_swapped(p["categories"])),
    "one more category": lambda p: p.update(categories=(*p["categories"], "hats")),
    "train outfits": _with("outfits", sets=lambda own: {**own, "train": _swapped(own["train"])}),
    "product type": _with(
        "outfits", items=lambda own: {**own, "tops000": dataclasses.replace(own["tops000"], product_type="other")}
    ),
    "right answer": _with("outfits", questions=_first(lambda q: dataclasses.replace(q, right=(q.right + 1) % 4))),
    "question": _with("outfits", questions=_first(lambda q: dataclasses.replace(q, outfit=_swapped(q.outfit)))),
    "label": _with("outfits", judged=_first(lambda j: dataclasses.replace(j, compatible=not j.compatible))),
    "features": _with("gallery", features=_raised),
    "histograms": _with("gallery", histograms=_raised),
    "text vectors": _with("texts", vectors=_raised),
    "described": _with("texts", told=_raised),
    "no text": lambda p: p.update(texts=None),
    "photos": _with("network", pixels=_raised),
    "what self-supervision sees": _with("network", seen=lambda seen: seen[:-1]),
    "no network": lambda p: p.update(network=None, config=dataclasses.replace(p["config"], ssl_weight=0.0)),
}


def _identity(change: Any = None) -> str:
    trainer = whole(tiny())
    assert trainer.projection is not None
    assert trainer.inputs.pixels is not None
    table = Texts(np.arange(len(trainer.gallery.ids) * 2, dtype=np.float32).reshape(-1, 2) + 1,
                  np.ones(len(trainer.gallery.ids), bool))  # fmt: skip
    network = Network(trainer.student.backbone, (0.5,) * 3, (0.5,) * 3, trainer.inputs.pixels, np.arange(24))  # type: ignore[arg-type]
    parts: dict[str, Any] = {
        "outfits": trainer.outfits, "gallery": trainer.gallery, "categories": CATEGORIES, "config": trainer.config,
        "texts": table, "network": network,
    }  # fmt: skip
    if change is not None:
        change(parts)
    must = [parts.pop(k) for k in ("outfits", "gallery", "categories", "config")]
    return Trainer(*must, **parts).identity


def test_a_runs_identity_is_all_that_its_teacher_depends_on() -> None:
    """Each change alone, or another run's teacher would be taken for this one's."""
    found = {"": _identity(), **{name: _identity(change) for name, change in CHANGES.items()}}
    by_identity: dict[str, list[str]] = {}
    for name, identity in found.items():
        by_identity.setdefault(identity, []).append(name)
    assert [names for names in by_identity.values() if len(names) > 1] == []
    assert _identity() == found[""]
    assert _identity(lambda p: p.update(config=dataclasses.replace(p["config"], tensorboard=True))) == found[""]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: p.write_bytes(b"PK nothing"), "cannot be read as a checkpoint"),
        # An object of any class, here a path, is what the restricted reader must not make.
        (lambda p: torch.save({"format": checkpoints.FORMAT, "run": Path("a")}, p), "cannot be read as a checkpoint"),
        (lambda p: torch.save({"format": 99}, p), "no checkpoint of this version"),
        (lambda p: torch.save({"format": checkpoints.FORMAT, "run": "other"}, p), "another configuration"),
    ],
)
def test_a_checkpoint_that_is_not_ours_is_refused(spoil: Any, said: str, tmp_path: Path) -> None:
    spoil(tmp_path / checkpoints.FILE)
    outfits, gallery = draw_world(per_kind=6, outfits=60)
    with pytest.raises(checkpoints.CheckpointError, match=said):
        Trainer(outfits, gallery, CATEGORIES, make_config(SMALL), folder=tmp_path).run()


WORKER = """
import datetime, sys, torch
from torch import distributed as dist
sys.path[:0] = {paths!r}
rank = int(sys.argv[1])
if {world} > 1:
    dist.init_process_group("gloo", init_method="tcp://127.0.0.1:{port}", rank=rank, world_size={world},
                            timeout=datetime.timedelta(seconds=60))
torch.set_num_threads(1)
from test_model_training import SMALL, Means, Texts, cached, make_config, np
"""
TRAIN = """
trained = cached(make_config({**SMALL, "drop": 0.0})).run()
if rank == 0:
    torch.save(trained.model.state_dict(), sys.argv[2])
"""
# The second process' rows have no text.
PARTLY_TOLD = """
trainer = cached(make_config(SMALL), told=rank == 0)
for batch in trainer._batches(1):
    trainer._step(1, batch, Means())
if rank == 1:
    torch.save(trainer.student.state_dict(), sys.argv[2])
dist.barrier()
if rank == 0:
    other = torch.load(sys.argv[2], weights_only=True)
    assert all(torch.equal(v, other[k]) for k, v in trainer.student.state_dict().items())
"""


def _run_worker(world: int, out: Path, work: str = TRAIN) -> dict[str, torch.Tensor]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    here = Path(__file__).parent
    code = WORKER.format(paths=[str(here), str(here.parent)], world=world, port=port) + work
    env = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    running = [subprocess.Popen([sys.executable, "-c", code, str(r), str(out)], env=env) for r in range(world)]
    assert [p.wait(300) for p in running] == [0] * world
    state: dict[str, torch.Tensor] = torch.load(out, weights_only=True)
    return state


def test_two_processes_train_the_same_teacher_as_one(tmp_path: Path) -> None:
    one, two = (_run_worker(world, tmp_path / f"{world}.pt") for world in (1, 2))
    for name, value in one.items():
        if name.startswith(("heads.", "masks")):
            assert torch.allclose(value, two[name], atol=2e-4), name


def test_a_process_without_described_items_takes_part_in_the_text_term(tmp_path: Path) -> None:
    assert _run_worker(2, tmp_path / "two.pt", PARTLY_TOLD)


def test_processes_share_the_self_supervised_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = whole(tiny())
    for step in (0, 1, 7):  # within a lap, over its end
        trainer.step = step
        everything = trainer._ssl_rows().tolist()
        parts = []
        with monkeypatch.context() as m:
            m.setattr(distributed, "world_size", lambda: 2)
            for rank in (0, 1):
                m.setattr(distributed, "rank", lambda rank=rank: rank)
                parts.append(trainer._ssl_rows().tolist())
        assert len(everything) == trainer.config.ssl_batch
        assert everything[0::2] == parts[0]
        assert everything[1::2] == parts[1]


def test_local_crops_stay_on_the_garment() -> None:
    front = torch.zeros(50, 64, 64, dtype=torch.bool)  # trousers: much of their box is the gap between the legs
    front[:, 8:56, 12:24] = front[:, 8:56, 40:52] = front[:, 8:16, 12:52] = True
    rng = torch.Generator().manual_seed(0)

    def covers(on_garment: bool) -> list[float]:
        found = []
        for left, top, w, h in garment_boxes(front, (0.05, 0.25), rng, on_garment=on_garment).tolist():
            assert min(left, top) >= 0
            assert max(left + w, top + h) <= 1 + 1e-6
            own = front[0, int(top * 64) : round((top + h) * 64), int(left * 64) : round((left + w) * 64)]
            found.append(float(own.float().mean()))
        return found

    off, on = (sum(c < 0.5 for c in covers(wanted)) for wanted in (False, True))
    assert off >= 15
    assert on <= 3  # six draws in a row may all miss, and a box's edge is rounded to a pixel here
    with pytest.raises(ValueError, match="scale"):
        garment_boxes(front, (0.5, 0.2), rng, on_garment=False)


def test_a_cut_is_the_box_and_a_mirror_mirrors() -> None:
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    box = torch.tensor([[0.25, 0.5, 0.5, 0.5]])
    assert torch.allclose(cut(x, box, 8), x[:, :, 8:16, 4:12], atol=1e-5)
    assert torch.allclose(cut(x, box, 8, torch.tensor([True])), x[:, :, 8:16, 4:12].flip(-1), atol=1e-5)


def test_views_lose_colour_but_not_shape_and_tiles_lose_shape_but_not_pixels() -> None:
    grey = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(2)).expand(200, 3, 32, 32)
    out = without_colour(grey, torch.Generator().manual_seed(3))
    assert float((out - out.mean(1, keepdim=True)).abs().max()) < 1e-5  # grey stays grey under any hue
    red = torch.tensor([0.8, 0.1, 0.1]).view(1, 3, 1, 1).expand(400, 3, 8, 8)
    hues = without_colour(red, torch.Generator().manual_seed(4)).mean((0, 2, 3))
    assert float(hues.max() - hues.min()) < 0.08  # a colour's mean over draws is no colour
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    shuffled = shuffle_tiles(x, torch.tensor([True, False]), torch.Generator().manual_seed(6))
    assert torch.equal(shuffled[1], x[1])
    assert not torch.equal(shuffled[0], x[0])
    assert torch.equal(shuffled[0].flatten().sort().values, x[0].flatten().sort().values)


def test_the_curriculum_goes_from_local_to_global() -> None:
    start, middle, end = (views_at(p, 8, 0.5, 0.3) for p in (0.0, 0.5, 1.0))
    assert (start.local_crops, end.local_crops) == (8, 4)
    assert start.local_scale < middle.local_scale < end.local_scale
    assert (start.local_weight, end.local_weight) == (1.0, 0.5)
    assert (start.shape_suppression, middle.shape_suppression, end.shape_suppression) == (0.3, 0.0, 0.0)
    assert views_at(0.5, 0, 0.5, 0.0).local_crops == 0
    assert [round(warmed_cosine(s, 2, 10, 0.1), 3) for s in (0, 1, 2, 10)] == [0.5, 1.0, 1.0, 0.1]
    assert [teacher_temperature(p, 0.04, 0.07, 0.3) for p in (0.0, 0.15, 0.5)] == pytest.approx([0.04, 0.055, 0.07])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_valid_configuration(name: str) -> None:
    made = read_config(None, {"preset": name})
    assert {key: getattr(made, key) for key in preset(name)} == preset(name)


def test_presets_are_the_files_and_the_defaults_are_one_of_them() -> None:
    files = resources.files("medal_model").joinpath("presets").iterdir()
    assert set(PRESETS) == {f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")}
    assert read_config(None, {"preset": "lite0_cpu_frozen"}) == TrainConfig()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"preset": "vit_l"}, "preset 'vit_l' is unknown"),
        ({"lerning_rate": 1.0}, "unknown key lerning_rate"),
        ({"balance": "magic"}, "balance must be one of centre, sinkhorn"),
        ({"ssl_weight": 1.0}, "needs frozen: false"),
        ({"teacher_temperature_start": 0.2}, "above teacher_temperature"),
        ({"drop": 2.0}, "drop must be from 0"),
        ({"frozen": "yes"}, "frozen must be of type bool"),
    ],
)
def test_a_configuration_that_cannot_be_names_its_key(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_config(None, values)


def test_a_device_that_is_not_there_is_an_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    outfits, gallery = draw_world(per_kind=6, outfits=60)
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        Trainer(outfits, gallery, CATEGORIES, make_config({**SMALL, "device": "cuda"}))


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"input_size": 66}, False),
        ({"input_size": 68}, True),
        ({"input_size": 66, "shape_suppression": 0.0}, True),
        ({"input_size": 66, "ssl_weight": 0.0}, True),
        ({"input_size": 66, "ssl_weight": 0.0, "frozen": True}, True),
    ],
)
def test_views_that_are_cut_into_tiles_must_be_divisible(changes: dict[str, Any], fits: bool) -> None:
    if fits:
        check_views(tiny(**changes))
        return
    with pytest.raises(ConfigError, match="input_size 66 must be a multiple of 4 where shape_suppression is above 0"):
        check_views(tiny(**changes))


def test_views_of_any_size_are_trained_on_without_shape_suppression() -> None:
    trained = whole(tiny(input_size=66, shape_suppression=0.0, epochs=1, epoch_steps=1)).run()
    assert trained.history[0].readings.ssl > 0


@pytest.mark.parametrize(("switch", "part"), [("masks", "masks"), ("colour", "colour")])
def test_an_ablation_leaves_its_part_untrained(switch: str, part: str) -> None:
    outfits, gallery = draw_world(per_kind=6, outfits=60)
    trainer = Trainer(outfits, gallery, CATEGORIES, make_config({**SMALL, switch: False, "epochs": 1}))
    assert part not in trainer.parts
    trained = trainer.run()
    if switch == "masks":
        assert torch.equal(trained.model.masks.weights(), torch.ones_like(trained.model.masks.weights()))
    else:
        assert not trained.model.heads.project(*_probe(trained, outfits, gallery))[:, 96:].any()


def _probe(trained: Any, outfits: Outfits, gallery: Gallery) -> tuple[torch.Tensor, torch.Tensor]:
    assert outfits.items
    return trained.model.heads.inputs(torch.from_numpy(gallery.features), torch.from_numpy(gallery.histograms))
