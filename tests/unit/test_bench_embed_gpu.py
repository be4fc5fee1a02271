"""The GPU's part of `medal bench embed`, on a CPU: its arithmetic is the same."""

from __future__ import annotations

import pytest
import torch

from jobs.bench.embed_gpu import GpuOrder, flop_of, measure
from medal_model.backbones import random_spec
from medal_model.features import Extractor

pytestmark = pytest.mark.timeout(120)
CPU = torch.device("cpu")


def test_operations_are_those_of_the_architecture() -> None:
    """ViT-Ti/16 at 224 pixels, by hand: embedding, 12 blocks of qkv, attention, projection and MLP."""
    n, d = 197, 192
    block = n * d * 3 * d + 2 * n * n * d + n * d * d + 2 * n * d * 4 * d
    wanted = 2 * (196 * 768 * d + 12 * block)
    got = flop_of(Extractor(random_spec("vit_tiny_patch16_224"), 224, False), 224)
    assert got == pytest.approx(wanted, rel=0.01)


def test_the_share_is_of_the_rate_that_was_measured() -> None:
    said: list[str] = []
    order = GpuOrder("vit_tiny_patch16_224", 64, batch=2, square=256, calls=2, rounds=3, compiled=False)
    got = measure(order, CPU, said.append)
    made = got["images_per_s"] * got["gflop_per_image"] / 1e3
    assert got["share_of_matmul"] == pytest.approx(made / got["matmul_tflops"], rel=0.1)
    assert 0 < got["share_of_matmul"] < 2 and len(said) == 1


@pytest.mark.gpu
def test_a_real_card() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    assert measure(GpuOrder(), torch.device("cuda"), print)["share_of_matmul"] >= 0.6
