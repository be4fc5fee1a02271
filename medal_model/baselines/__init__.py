"""What MEDAL is measured against: small, honest re-implementations on MEDAL's own inputs, sampler and harness.

One module a method; `BASELINES` names them all. They import nothing of MEDAL's own network or trainer.
"""

from __future__ import annotations

from collections.abc import Mapping

from medal_model.baselines.csa_net import CsaNet
from medal_model.baselines.loop import Baseline, LoopConfig
from medal_model.baselines.plain_triplet import PlainTriplet
from medal_model.baselines.sce_net import SceNetAveraged
from medal_model.baselines.type_aware import TypeAware
from medal_model.baselines.untrained import ColourHistogram, FrozenCosine, Popularity, Random

__all__ = ["BASELINES", "Baseline", "LoopConfig"]

BASELINES: Mapping[str, type[Baseline]] = {
    "random": Random,
    "popularity": Popularity,
    "colour histogram": ColourHistogram,
    "frozen cosine": FrozenCosine,
    "plain triplet": PlainTriplet,
    "Type-aware": TypeAware,
    "SCE-Net averaged": SceNetAveraged,
    "CSA-Net": CsaNet,
}
