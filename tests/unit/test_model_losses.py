"""Losses against plain loops of their formulas, and the monitors' alarms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from medal_model.losses import (
    Centre,
    across_loss,
    dino_cross_entropy,
    dino_targets,
    sinkhorn_targets,
    text_loss,
    triplet_loss,
)
from medal_model.monitors import Readings, alarms, effective_rank, mask_entropy


def test_triplet_loss_is_the_mean_over_active_triplets() -> None:
    positive, negative = torch.tensor([0.5, 0.1]), torch.tensor([[0.4, 0.9], [-0.8, 0.0]])
    hinges = [max(0.0, 0.3 - float(p) + float(n)) for p, ns in zip(positive, negative, strict=True) for n in ns]
    above = [h for h in hinges if h > 0]
    loss, active = triplet_loss(positive, negative, 0.3)
    assert active == len(above) == 3
    assert float(loss) == pytest.approx(sum(above) / len(above))


@pytest.mark.parametrize("seed", range(4))
def test_across_loss_by_a_plain_loop(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    positive, negative = torch.randn(5, generator=g), torch.randn(5, 3, generator=g)
    other = torch.randperm(5, generator=torch.Generator().manual_seed(seed)).tolist()
    hinges = [0.2 - float(positive[n]) + float(x) for n, o in enumerate(other) for x in negative[o]]
    above = [h for h in hinges if h > 0]
    got = across_loss(positive, negative, 0.2, torch.Generator().manual_seed(seed))
    assert float(got) == pytest.approx(sum(above) / len(above), rel=1e-6)


def test_across_loss_sees_what_a_triplet_cannot() -> None:
    """Two anchors, each in good order; but one scores high with anything: its negative beats the other's positive."""
    positive, negative = torch.tensor([0.2, 1.2]), torch.tensor([[-0.3], [0.7]])
    assert float(triplet_loss(positive, negative, 0.3)[0]) == 0.0
    draws = {float(across_loss(positive, negative, 0.3, torch.Generator().manual_seed(n))) for n in range(20)}
    assert sorted(draws) == pytest.approx([0.0, 0.8])


def test_no_active_triplet_is_a_zero_with_a_graph() -> None:
    positive = torch.tensor([0.9, 0.8], requires_grad=True)
    loss, active = triplet_loss(positive, torch.tensor([-0.5, -0.5]), 0.3)
    loss.backward()
    assert (float(loss.detach()), active) == (0.0, 0)
    assert positive.grad is not None
    assert torch.equal(positive.grad, torch.zeros(2))


def test_zero_terms_are_an_error() -> None:
    with pytest.raises(ValueError, match="zero triplets"):
        triplet_loss(torch.zeros(0), torch.zeros(0), 0.3)
    with pytest.raises(ValueError, match="zero triplets"):
        across_loss(torch.zeros(0), torch.zeros(0, 4), 0.3, torch.Generator())
    with pytest.raises(ValueError, match="zero targets"):
        dino_cross_entropy(torch.zeros(2, 4), [], 0.1)
    with pytest.raises(ValueError, match="1 rows"):
        text_loss(torch.ones(1, 3), torch.ones(1, 3), 0.2)


@pytest.mark.parametrize("outputs", [16, 1024, 65_536])
def test_uniform_logits_give_ln_k(outputs: int) -> None:
    logits = torch.zeros(3, outputs)
    target = dino_targets(logits, torch.zeros(outputs), 0.04)
    assert float(dino_cross_entropy(logits, [target], 0.1)) == pytest.approx(math.log(outputs), rel=1e-5)


def test_dino_loss_is_the_plain_formula() -> None:
    g = torch.Generator().manual_seed(1)
    teacher = [torch.randn(4, 32, generator=g, dtype=torch.float64) for _ in range(2)]
    student = [torch.randn(4, 32, generator=g, dtype=torch.float64) for _ in range(5)]
    centre = torch.randn(32, generator=g)
    want, terms = 0.0, 0
    for u, t in enumerate(teacher):
        p = F.softmax((t - centre) / 0.05, -1)
        for v, s in enumerate(student):
            if u == v:
                continue
            for row in range(4):
                want += -float((p[row] * F.log_softmax(s[row] / 0.1, -1)).sum()) / 4
            terms += 1
    targets = [dino_targets(t, centre, 0.05) for t in teacher]
    got = sum(
        float(dino_cross_entropy(s, [t for u, t in enumerate(targets) if u != v], 0.1)) for v, s in enumerate(student)
    )
    assert terms == 8
    assert got / terms == pytest.approx(want / terms, abs=1e-6)


def test_sinkhorn_uses_prototypes_evenly_and_rows_sum_to_one() -> None:
    q = sinkhorn_targets(torch.randn(64, 16, generator=torch.Generator().manual_seed(2)), 0.1, rounds=50)
    assert torch.allclose(q.sum(1), torch.ones(64), atol=1e-5)
    assert torch.allclose(q.sum(0), torch.full((16,), 64 / 16), atol=5e-2)


def test_centre_moves_to_the_mean_of_all_views() -> None:
    centre = Centre(3, momentum=0.9)
    centre.update([torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[3.0, 0.0, 0.0]])])
    assert torch.allclose(centre.value, torch.tensor([0.2, 0.0, 0.1]))


def test_text_loss_by_plain_loops() -> None:
    g = torch.Generator().manual_seed(3)
    v, t = (F.normalize(torch.randn(5, 8, generator=g), dim=-1) for _ in range(2))
    hinges = []
    for i in range(5):
        for j in range(5):
            if i != j:
                hinges.append(max(0.0, 0.2 - float(v[i] @ t[i]) + float(v[i] @ t[j])))
                hinges.append(max(0.0, 0.2 - float(v[i] @ t[i]) + float(v[j] @ t[i])))
    above = [h for h in hinges if h > 0]
    loss, active = text_loss(v, t, 0.2)
    assert active == len(above)
    assert float(loss) == pytest.approx(sum(above) / len(above), rel=1e-5)


def test_effective_rank_and_mask_entropy() -> None:
    g = torch.Generator().manual_seed(4)
    line = torch.randn(200, 1, generator=g) @ torch.randn(1, 16, generator=g)
    assert effective_rank(line) == pytest.approx(1.0, abs=1e-4)
    assert effective_rank(torch.ones(10, 4)) == 1.0
    assert effective_rank(torch.randn(5000, 16, generator=g)) > 15.5
    assert mask_entropy(torch.ones(3, 128)) == pytest.approx(1.0)
    assert mask_entropy(128 * F.one_hot(torch.tensor([3]), 128).double()) == pytest.approx(0.0, abs=1e-9)


HEALTHY = Readings(
    triplet=0.2, text=0.1, active=0.4, colour_share=0.3, masks=0.95, rank=40, ssl=0.9, entropy=0.5, spread=0.8,
    gradients={"visual": 1.0},
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({}, None),
        ({"ssl": math.nan, "entropy": math.nan, "spread": math.nan}, None),
        ({"entropy": 0.995}, "teacher_temperature is too high"),
        ({"spread": 0.02}, "collapse"),
        ({"ssl": 2.0}, "diverges"),
        ({"rank": 10.0}, "effective rank fell from 40.0 to 10.0"),
        ({"active": 0.001}, "raise margin or negatives"),
        ({"masks": 0.3}, "lower mask_learning_rate"),
        ({"colour_share": 0.9}, "raise rho"),
        ({"gradients": {"dino": 1e6}}, "gradient norm of dino"),
        ({"gradients": {"dino": math.nan}}, "gradient norm of dino"),
    ],
)
def test_an_alarm_names_the_likely_cause(changed: dict[str, object], cause: str | None) -> None:
    found = alarms(replace(HEALTHY, **changed), HEALTHY)  # type: ignore[arg-type]
    assert len(found) == (0 if cause is None else 1)
    assert cause is None or cause in found[0]
