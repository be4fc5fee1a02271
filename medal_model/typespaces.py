"""Reader of `typespaces.p` of the Polyvore Outfits download: the pairs of semantic categories that Type-aware compares.

    DIR/{disjoint,nondisjoint}/typespaces.p   a Python 2 pickle: a list of pairs of strings, 66 in the real files

A pickle can run code when it is loaded, so none is loaded: its opcodes are read as data (`pickletools`, which executes
nothing), and those for text, tuples, lists and memo are followed here. Whatever else stands in the file is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Collection
from pathlib import Path
from typing import Any

from medal_model.outfits import OutfitsError

NAME = "typespaces.p"
MAX_BYTES = 1_000_000  # 66 pairs are 2 kB
_TEXT = {
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES",
}  # fmt: skip
_PUT, _GET = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


def typespaces(root: Path, variant: str, known: Collection[str]) -> tuple[tuple[str, str], ...] | None:
    """Pairs of semantic categories in the file's order; None where the variant has no such file.

    `known` are the semantic categories of the folder's items (`Outfits.semantic`). Raises OutfitsError naming the file:
    see `read_typespaces`; a category that no item of the folder has.
    """
    path = root / variant / NAME
    if not path.exists():
        return None
    pairs = read_typespaces(path)
    for n, pair in enumerate(pairs):
        if unknown := [c for c in pair if c not in known]:
            raise OutfitsError(f"{path}: pair {n}: no item is of category {unknown[0]!r}; known are {sorted(known)}")
    return pairs


def read_typespaces(path: Path) -> tuple[tuple[str, str], ...]:
    """The pairs as the file has them. Nothing in the file is executed.

    Raises OutfitsError naming the file: unreadable, over MAX_BYTES, any opcode beyond strings, tuples and lists, cut
    short, anything but a list of pairs of text.
    """
    try:
        size = path.stat().st_size
        data = b"" if size > MAX_BYTES else path.read_bytes()
    except OSError as e:
        raise OutfitsError(f"{path}: cannot be read: {e.strerror or e}") from e
    if size > MAX_BYTES:
        raise _refused(path, f"{size:,} bytes; at most {MAX_BYTES:,} are read")
    try:
        value = _value(data)
    except (ValueError, LookupError, AttributeError) as e:
        raise _refused(path, f"is no whole pickle of text, tuples and lists: {' '.join(str(e).split())}") from e
    if not isinstance(value, list) or not value:
        raise _refused(path, f"must be a list of pairs, is {_kind(value)}")
    pairs = []
    for n, pair in enumerate(value):
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise _refused(path, f"pair {n}: must be a tuple of two names, is {_kind(pair)}")
        first, second = (_name(path, n, name) for name in pair)
        pairs.append((first, second))
    return tuple(pairs)


def _value(data: bytes) -> Any:
    """What the pickle describes. ValueError, LookupError or AttributeError for damage and any other opcode."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}

    def since_mark() -> list[Any]:
        at = len(stack) - 1 - stack[::-1].index(_MARK)
        found = stack[at + 1 :]
        del stack[at:]
        return found

    for opcode, argument, at in pickletools.genops(data):
        name = opcode.name
        if name in _TEXT:
            stack.append(argument.decode("latin1") if isinstance(argument, bytes) else argument)
        elif name in _PUT or name == "MEMOIZE":
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in _GET:
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _TUPLES:
            many = _TUPLES[name]
            if len(stack) < many:
                raise IndexError(f"byte {at}: {name} of {len(stack)} values")
            stack[len(stack) - many :] = [tuple(stack[len(stack) - many :])]
        elif name in ("TUPLE", "LIST"):
            stack.append((tuple if name == "TUPLE" else list)(since_mark()))
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in ("APPEND", "APPENDS"):
            more = since_mark() if name == "APPENDS" else [stack.pop()]
            stack[-1].extend(more)
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            what = f" {argument[:80]!r}" if isinstance(argument, str) else ""
            raise ValueError(f"byte {at}: opcode {name}{what} is refused")
    raise ValueError("it ends without STOP")


def _name(path: Path, n: int, name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise _refused(path, f"pair {n}: must be two names, has {_kind(name)}")
    return name


def _kind(value: Any) -> str:
    """Type and length, never the content: a hostile one may be endless."""
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, list | tuple | str) else type(value).__name__


def _refused(path: Path, why: str) -> OutfitsError:
    return OutfitsError(f"{path}: {why}; fetch it anew or take it away: training does not need it")
