"""What `medal bench embed` says of a GPU: a ViT's forward from memory beside the matrix rate the card reaches itself.

Random weights do, and the peak is measured, not a data sheet's: a share of it says how well the network is run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from medal_model.backbones import random_spec
from medal_model.features import Extractor


@dataclass(frozen=True)
class GpuOrder:
    """The median of `rounds` of `calls` batches, and of as many products of two `square` matrices."""

    backbone: str = "vit_base_patch16_224"
    size: int = 224
    batch: int = 256
    square: int = 8192
    calls: int = 20
    rounds: int = 5
    compiled: bool = True


def measure(order: GpuOrder, device: torch.device, say: Callable[[str], None]) -> dict[str, Any]:
    """Plain JSON values of the key `gpu`: images on the device to features there, and matrix products."""
    extractor = Extractor(random_spec(order.backbone), order.size, False).on(device, torch.bfloat16)
    if order.compiled:
        extractor.compile()
    run = extractor.compiled or extractor._features
    images = torch.randint(0, 256, (order.batch, 3, order.size, order.size), dtype=torch.uint8, device=device)
    a, b = (torch.randn(order.square, order.square, device=device, dtype=torch.bfloat16) for _ in range(2))
    with torch.inference_mode():
        forward = order.batch / _seconds(lambda: run(images), device, order)
        product = 2 * order.square**3 / _seconds(lambda: a @ b, device, order)
    flop = flop_of(extractor, order.size)
    say(f"gpu: {forward:,.0f} images/s, {forward * flop / product:.2f} of {product / 1e12:,.0f} TFLOP/s")
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "backbone": order.backbone,
        "batch": order.batch,
        "compiled": order.compiled,
        "images_per_s": round(forward, 2),
        "gflop_per_image": round(flop / 1e9, 3),
        "matmul_tflops": round(product / 1e12, 3),
        "share_of_matmul": round(forward * flop / product, 4),
    }


def flop_of(extractor: Extractor, size: int) -> int:
    """Floating-point operations of one image, a multiplication and an addition being two: matrix products, convolutions
    and attention."""
    pixels = torch.zeros(1, 3, size, size, dtype=torch.uint8, device=extractor.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        extractor._features(pixels)
    return counter.get_total_flops()


def _seconds(call: Callable[[], object], device: torch.device, order: GpuOrder) -> float:
    """Of one call, warm; the device is waited for once a round."""
    took = []
    for n in range(order.rounds + 1):
        begun = time.perf_counter()
        for _ in range(order.calls):
            call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if n:
            took.append((time.perf_counter() - begun) / order.calls)
    return median(took)
