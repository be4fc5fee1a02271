"""What a run says while it trains: a progress line, one JSON line an epoch, TensorBoard where asked for."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from medal_model import distributed
from medal_model.config import TrainConfig
from medal_model.settings_file import ConfigError
from medal_model.training import Epoch

LOG_FILE, CONFIG_FILE = "log.jsonl", "config.json"
_BAR = 24


class RunLog:
    """Says and writes in the first process only. `open` starts the files; without it nothing is written."""

    def __init__(self, tensorboard: bool = False, quiet: bool = False) -> None:
        """Raises ConfigError where TensorBoard is asked for and not installed."""
        if tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise ConfigError("tensorboard: true, and the package is not installed: pip install tensorboard")
        self._quiet = quiet or distributed.rank() > 0
        self._bar = not self._quiet and sys.stderr.isatty()
        self._want_board = tensorboard
        self._board: Any = None
        self._file: TextIO | None = None
        self._begun = time.monotonic()

    def open(self, folder: Path, config: TrainConfig) -> None:
        """Log to `folder`; lines of an earlier part of the same run stay."""
        if distributed.rank() > 0:
            return
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).write_text(json.dumps(config.to_dict(), indent=1) + "\n", encoding="utf-8")
        self._file = (folder / LOG_FILE).open("a", encoding="utf-8")
        if self._want_board:
            writer = importlib.import_module("torch.utils.tensorboard")
            self._board = writer.SummaryWriter(str(folder / "tensorboard"))
        self._say(f"run folder: {folder}")

    def step(self, epoch: int, step: int, steps: int) -> None:
        """The bar of the epoch under way; nothing where stderr is no terminal."""
        if self._bar:
            done = _BAR * step // steps
            sys.stderr.write(f"\repoch {epoch:3d} [{'#' * done}{'.' * (_BAR - done)}] step {step}/{steps}")
            sys.stderr.flush()

    def epoch(self, e: Epoch) -> None:
        """One line for people, one for programs."""
        r = e.readings
        line = f"epoch {e.number:3d}  loss {e.loss:.4f}  valid FITB {e.fitb:.3f}  AUC {e.auc:.3f}"
        line += f"  active {r.active:.0%}  rank {r.rank:.0f}"
        if not math.isnan(r.ssl):
            line += f"  ssl/ln K {r.ssl:.3f}  teacher entropy {r.entropy:.3f}"
        self._say(f"{line}  {e.images / max(e.seconds, 1e-9):,.0f} images/s  {e.seconds:.1f} s")
        for alarm in e.alarms:
            self._say(f"epoch {e.number:3d}  ALARM: {alarm}")
        if self._file is not None:
            self._file.write(json.dumps(_plain(asdict(e))) + "\n")
            self._file.flush()
        if self._board is not None:
            for name, value in _flat(asdict(e)).items():
                self._board.add_scalar(name, value, e.number)

    def close(self) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()

    def _say(self, line: str) -> None:
        if not self._quiet:
            print(f"\r{line}" if self._bar else line, file=sys.stderr, flush=True)


def _plain(value: Any) -> Any:
    """JSON has no NaN: it becomes null."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, v in value.items():
        if isinstance(v, dict):
            found.update(_flat(v, f"{prefix}{key}/"))
        elif isinstance(v, (int, float)) and math.isfinite(v):
            found[f"{prefix}{key}"] = float(v)
    return found
