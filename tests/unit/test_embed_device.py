"""The network on its device: nothing overtakes what it needs, and no precision is used whose vectors are others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from embed_shop import Shop, encoded, picture
from torch import nn

from jobs.embed import precision
from jobs.embed.blocks import Blocks, Serial, Stream, Streams
from jobs.embed.device import TeacherNetwork
from jobs.embed.draw import Todo
from jobs.embed.lanes import Float32, Lane, UInt8
from jobs.embed.pipeline import Pipeline, Shape
from jobs.embed.precision import LEAST, checked, cosine, drawn, has_bfloat16, prepared, vectors, warm, ways
from jobs.errors import SettingsError, TransientError
from medal_model.backbones import random_spec
from medal_model.colour import luv_histogram
from medal_model.export import TeacherHeader
from medal_model.features import Extractor
from medal_model.network import Heads, HeadShape
from medal_model.teacher import Teacher, load_teacher

pytestmark = pytest.mark.timeout(120)
CPU = torch.device("cpu")


# --- batches, buffers, blocks -----------------------------------------------------------------------------------


class Adversary:
    """Streams that run their work as late, as early or in as odd an order as the marks let them."""

    def __init__(self, seed: int, haste: float, lost: str = "") -> None:
        """`lost`: marks that are overlooked, of a stream or of the host."""
        self.rng, self.haste, self.lost = np.random.default_rng(seed), haste, lost
        self.work: list[tuple[Stream, Callable[[], object], Sequence[int]]] = []
        self.done: list[bool] = []

    def run(self, stream: Stream, work: Callable[[], object], after: Sequence[Any]) -> int:
        self.work.append((stream, work, () if stream == self.lost else after))
        self.done.append(False)
        while self.rng.random() < self.haste and not all(self.done):
            self.complete(int(self.rng.choice([n for n, done in enumerate(self.done) if not done])))
        return len(self.work) - 1

    def wait(self, mark: Any) -> None:
        if self.lost != "host":
            self.complete(mark)

    def complete(self, mark: int) -> None:
        stream, work, after = self.work[mark]
        before = [n for n in range(mark) if self.work[n][0] == stream]
        for n in (*before, *after):
            if not self.done[n]:
                self.complete(n)
        if not self.done[mark]:
            self.done[mark] = True
            work()


def sums(pixels: torch.Tensor) -> torch.Tensor:
    return torch.stack((pixels.sum((1, 2, 3)).float(), pixels[:, 0, 0, 0].float()), 1)


def blocks(streams: Streams, block: int = 3, check: Callable[[torch.Tensor], None] = lambda z: None) -> Blocks:
    return Blocks(sums, check, streams, CPU, 4, 2, block)


def right(lane: Lane, n: int, flush: Callable[[int], bool] = lambda k: False) -> bool:
    """Are the vectors of `n` batches, flushed after those that `flush` names, theirs and in order?"""
    rng = np.random.default_rng(n)
    batches = rng.integers(0, 256, (n, 4, 3, 2, 2), dtype=np.uint8)
    got: list[Float32] = []
    for k, batch in enumerate(batches):
        lane.buffer((3, 2, 2))[:] = batch
        got += lane.submit()
        if flush(k):
            got += lane.flush()
            assert len(got) == k + 1, "a flush gives all that was submitted"
    got += lane.flush()
    wanted = [sums(torch.from_numpy(b)).numpy() for b in batches]
    return len(got) == n and all(np.array_equal(a, b) for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 6, 7, 20])
@pytest.mark.parametrize("haste", [0.0, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("block", [1, 3])
def test_whatever_the_streams_do_vectors_are_those_of_their_images(n: int, haste: float, block: int) -> None:
    for seed in range(5):
        assert right(blocks(Adversary(seed, haste), block), n)
        assert right(blocks(Adversary(seed, haste), block), n, lambda k: k % 5 in (1, 2))


@pytest.mark.parametrize("lost", ["in", "compute", "out", "host"])
def test_each_mark_is_needed(lost: str) -> None:
    assert not all(right(blocks(Adversary(seed, h, lost)), 20) for seed in range(5) for h in (0.0, 0.3, 0.7, 0.95))


def test_vectors_come_in_blocks_the_one_before_when_the_next_is_full() -> None:
    lane = blocks(Serial())
    came = []
    for _ in range(7):
        lane.buffer((3, 2, 2))
        came.append(len(lane.submit()))
    assert came == [0, 0, 0, 0, 0, 3, 0] and len(lane.flush()) == 4 and lane.flush() == []


def test_a_block_with_a_bad_vector_is_an_error() -> None:
    def check(z: torch.Tensor) -> None:
        if bool((z[:, 1] == 9).any()):
            raise FloatingPointError("row")

    lane = blocks(Serial(), check=check)
    for value in (1, 9):
        lane.buffer((3, 2, 2))[:] = value
        lane.submit()
    with pytest.raises(FloatingPointError):
        lane.flush()


class OnDevice:
    """A network whose vectors come back in blocks."""

    workers = 1

    def __init__(self, streams: Streams) -> None:
        self.streams = streams

    def load(self) -> None:
        pass

    def preprocess(self, data: bytes) -> UInt8:
        return np.full((3, 2, 2), sum(data) % 251, np.uint8)

    def lane(self) -> Lane:
        return blocks(self.streams)


def photo(uri: str, _: str) -> bytes:
    return f"photo {uri}".encode()


def todo(n: int) -> list[Todo]:
    return [Todo(f"i{k}", f"u{k}", f"s{k}") for k in range(n)]


@pytest.mark.parametrize("n", [0, 1, 4, 12, 13, 24, 27, 61])
def test_each_image_has_its_own_vector_in_the_end(n: int) -> None:
    pipeline = Pipeline(photo, OnDevice(Adversary(n, 0.5)), lambda _: False, Shape(4, 5, 2))
    got = {o.todo.uri: o.value for o in pipeline.run(todo(n))}
    assert {u: float(v[1]) for u, v in got.items() if isinstance(v, np.ndarray)} == {
        f"u{k}": sum(photo(f"u{k}", "")) % 251 for k in range(n)
    }
    assert pipeline.figures.done["network"] == n


def test_vectors_are_not_held_back_for_a_block_that_is_long_in_coming() -> None:
    release = threading.Event()

    def fetch(uri: str, source: str) -> bytes:
        if uri == "u4":
            assert release.wait(30)
        return photo(uri, source)

    seen = 0
    for _ in Pipeline(fetch, OnDevice(Serial()), lambda _: False, Shape(4, 1, 1)).run(todo(5)):
        seen += 1
        if seen == 4:
            release.set()
    assert seen == 5


class Hangs(Serial):
    def __init__(self) -> None:
        self.release = threading.Event()

    def wait(self, mark: Any) -> None:
        self.release.wait(30)


@pytest.mark.parametrize(("n", "what"), [(40, "a batch of 4"), (3, "1 batches on the device")])
def test_a_device_that_hangs_is_named(n: int, what: str) -> None:
    streams = Hangs()
    try:
        with pytest.raises(TransientError, match=f"stage network makes no progress: {what}"):
            list(Pipeline(photo, OnDevice(streams), lambda _: False, Shape(4, 5, 2, stall_s=1.0)).run(todo(n)))
    finally:
        streams.release.set()


# --- precision --------------------------------------------------------------------------------------------------


def teacher_of(backbone: str = "vit_tiny_patch16_224", stages: int = 0) -> Teacher:
    """An untrained one, for images of 64 pixels."""
    spec = random_spec(backbone, stages=stages)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        heads = Heads(HeadShape(spec.feature_dim))
    header = TeacherHeader("t", "t-0", ("tops",), (), np.zeros((0, 128), np.float32), {}, {}, 128, 96)
    return Teacher(header, Extractor(spec, 64, True), heads)


def scaled(teacher: Teacher) -> Teacher:
    """Features that are small differences of large numbers, which bfloat16 has not got."""
    teacher.heads.feature_mean.fill_(1000.0)
    norm = teacher.extractor._backbone.norm
    assert isinstance(norm, nn.LayerNorm)
    norm.bias.data.fill_(1000.0)
    return teacher


KINDS: dict[str, tuple[Callable[[Teacher], Teacher], bool]] = {
    "as it is": (lambda t: t, True),
    "differences lost": (scaled, False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_bfloat16_spoils_is_refused(kind: str) -> None:
    change, passes = KINDS[kind]
    said: list[str] = []
    teacher = change(teacher_of())
    if passes:
        there = checked(teacher, "cpu", [torch.bfloat16], 8, False, said.append)
        assert len(said) == 1 and "bfloat16 on cpu: least cosine 0.999" in said[0] and "checked in" in said[0]
        pixels = torch.from_numpy(drawn(64))
        z = there.embed(pixels)
        assert z.dtype == torch.float32 and there.extractor._backbone.norm.weight.dtype == torch.bfloat16
        assert LEAST <= cosine(z, teacher.embed(pixels)) < 1 - 1e-9
        assert torch.equal(z[:, 96:], teacher.embed(pixels)[:, 96:]), "colours stay in float32"
        assert teacher.extractor.dtype == torch.float32
    else:
        with pytest.raises(
            SettingsError, match=r"bfloat16 on cpu: least cosine .* limit of 0\.9995; set embed.precision"
        ):
            checked(teacher, "cpu", [torch.bfloat16], 8, False, said.append)


def test_where_a_choice_is_left_float32_takes_over_and_it_is_said() -> None:
    said: list[str] = []
    teacher = scaled(teacher_of())
    there = checked(teacher, "cpu", [torch.bfloat16, torch.float32], 8, False, said.append)
    assert there.extractor.dtype == torch.float32 and len(said) == 2
    assert "is below the limit of 0.9995; float32 is used instead" in said[0] and "float32 on cpu" in said[1]
    pixels = torch.from_numpy(drawn(64))
    assert torch.equal(there.latents(pixels), teacher.latents(pixels)), "weights of the first try are another copy"


@pytest.mark.parametrize(
    ("device", "asked", "wanted"),
    [
        ("cpu", "auto", ["float32"]),
        ("cpu", "bfloat16", ["bfloat16"]),
        ("cuda", "auto", ["bfloat16", "float32"]),
        ("cuda", "float32", ["float32"]),
        ("cuda", "bfloat16", ["bfloat16"]),
    ],
)
def test_ways(device: str, asked: Any, wanted: list[str]) -> None:
    assert [str(d) for d in ways(device, asked)] == [f"torch.{w}" for w in wanted]


@pytest.mark.parametrize("asked", ["auto", "float32"])
def test_float32_on_a_cpu_is_the_teacher_itself(asked: Any) -> None:
    teacher = teacher_of()
    assert prepared(teacher, "cpu", asked, 8, True, lambda line: pytest.fail(line)) is teacher


def test_a_processor_without_bfloat16_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    with pytest.raises(SettingsError, match="neither avx512_bf16 nor amx_bf16; set embed"):
        prepared(teacher_of(), "cpu", "bfloat16", 8, True, print)


def test_no_number_is_no_agreement() -> None:
    z = torch.eye(3)
    assert cosine(z, z) == 1.0
    assert cosine(z, torch.tensor([[1.0, 0, 0], [0, torch.nan, 0], [0, 0, 1.0]])) == -1.0


def test_bfloat16_vectors_do_not_depend_on_batch_mates() -> None:
    there = teacher_of().on("cpu", torch.bfloat16)
    pixels = torch.from_numpy(drawn(64))
    assert torch.equal(there.latents(pixels)[:8], there.latents(pixels.flip(0)).flip(0)[:8])
    assert torch.equal(vectors(there, pixels, 16), there.latents(pixels))


def test_drawn_images_are_the_same_always_and_all_differ() -> None:
    images = drawn(64)
    assert images.shape == (16, 3, 64, 64) and np.array_equal(images, drawn(64))
    z = teacher_of("tf_efficientnet_lite0").latents(torch.from_numpy(images)).numpy()
    assert len({row.tobytes() for row in z}) == 16
    plain = (images == images[:, :, :1, :1]).all(1).mean((1, 2))
    assert plain.max() < 0.9, "no picture is nearly all ground"


@pytest.mark.parametrize(
    ("backbone", "stages"), [("tf_efficientnet_lite0", 0), ("mobilenetv3_small_050", 2), ("vit_tiny_patch16_224", 0)]
)
def test_a_network_is_one_graph(backbone: str, stages: int) -> None:
    teacher = teacher_of(backbone, stages)
    pixels = torch.from_numpy(drawn(64))
    wanted = teacher.latents(pixels)
    assert warm(teacher, 16, backend="eager") == ", compiled"
    assert teacher.extractor.compiled is not None
    assert cosine(teacher.latents(pixels), wanted) > 0.99999


class Asks(nn.Module):
    """Cannot be one graph: what it does depends on a number."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x)
        return out if float(out.sum()) > -1e30 else -out


def no_compiler(graph: Any, inputs: Any) -> Any:
    raise RuntimeError("no C compiler was found")


def test_what_cannot_be_compiled_runs_in_parts_or_plainly() -> None:
    teacher = teacher_of()
    teacher.extractor._backbone = Asks(nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 192)))
    pixels = torch.from_numpy(drawn(64))
    wanted = teacher.latents(pixels)
    assert warm(teacher, 16, backend="eager") == ", compiled in parts"
    assert cosine(teacher.latents(pixels), wanted) > 0.99999
    torch._dynamo.reset()  # type: ignore[no-untyped-call]
    assert "not compiled (" in warm(teacher, 16, backend=no_compiler)  # type: ignore[arg-type]
    assert torch.equal(teacher.latents(pixels), wanted)


@pytest.mark.slow
def test_compiled_code_agrees() -> None:
    teacher = teacher_of()
    pixels = torch.from_numpy(drawn(64))
    wanted = teacher.latents(pixels)
    assert warm(teacher, 16) == ", compiled"
    assert cosine(vectors(teacher, pixels, 16), wanted) > 0.99999


def test_the_stage_refuses_a_precision_that_its_teacher_does_not_bear(tmp_path: Path, teacher_dir: Path) -> None:
    if not has_bfloat16():
        pytest.skip("this processor has no bfloat16")
    shop = Shop(tmp_path, teacher_dir)
    shop.put("a", encoded(picture(), "JPEG"))
    embed = shop.settings.embed.model_copy(update={"precision": "bfloat16"})
    shop.settings = shop.settings.model_copy(update={"embed": embed})
    with pytest.raises(SettingsError, match=r"least cosine 0\.9[0-9]* to float32 .* set embed.precision: float32"):
        shop.night("2026-01-01")


# --- with a card ------------------------------------------------------------------------------------------------


@pytest.fixture
def cuda() -> str:
    """Skipped without a card whatever MEDAL_REQUIRE_ALL says: the project is whole without one."""
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    return "cuda"


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
def test_a_real_card_gives_the_vectors_of_the_cpu(cuda: str, teacher_dir: Path, compiled: bool) -> None:
    said: list[str] = []
    network = TeacherNetwork(teacher_dir, cuda, batch=4, compiled=compiled, say=said.append)
    lane, teacher = network.lane(), load_teacher(teacher_dir)
    pixels = drawn(teacher.input_size)
    got: list[Float32] = []
    for k in range(20):
        lane.buffer(pixels.shape[1:])[:] = np.roll(pixels, -4 * k, 0)[:4]
        got += lane.submit()
    got += lane.flush()
    wanted = teacher.embed(torch.from_numpy(pixels))
    assert len(got) == 20 and said
    for k, z in enumerate(got):
        assert cosine(torch.from_numpy(z), wanted.roll(-4 * k, 0)[:4]) >= LEAST
    assert np.array_equal(got[0], got[4]), "batches of the same images"


@pytest.mark.gpu
def test_a_real_card_counts_the_same_colours(cuda: str) -> None:
    pixels = torch.from_numpy(drawn(64))
    assert torch.equal(luv_histogram(pixels.to(cuda)).cpu(), luv_histogram(pixels))
