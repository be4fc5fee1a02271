"""Items by row: what training and evaluation on cached features share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Arrays = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Gallery:
    """Items by row: ids, categories, backbone features [N, F] and histograms [N, 512], float32."""

    ids: tuple[str, ...]
    categories: tuple[str, ...]
    features: Arrays
    histograms: Arrays

    @property
    def rows(self) -> dict[str, int]:
        """Row number by item id."""
        return {item_id: n for n, item_id in enumerate(self.ids)}
