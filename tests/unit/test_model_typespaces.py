"""typespaces.p is read as data: the real form is understood, and nothing in a hostile one is executed."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from medal_model.outfits import OutfitsError
from medal_model.typespaces import MAX_BYTES, read_typespaces, typespaces

PAIRS = (("bags", "shoes"), ("shoes", "shoes"))

# What Python 2 writes for [("bags", "shoes"), ("shoes", "shoes")] under its protocols, and Python 3 under its own.
TEXT = b"(lp0\n(S'bags'\np1\nS'shoes'\np2\ntp3\na(g2\ng2\ntp4\na."
BINARY = b"]q\x00((U\x04bagsq\x01U\x05shoesq\x02tq\x03(h\x02h\x02tq\x04e."
SECOND = b"\x80\x02]q\x00(U\x04bagsq\x01U\x05shoesq\x02\x86q\x03h\x02h\x02\x86q\x04e."
UNICODE = b"\x80\x02]q\x00(X\x04\x00\x00\x00bagsq\x01X\x05\x00\x00\x00shoesq\x02\x86q\x03h\x02h\x02\x86q\x04e."
BYTES = b"\x80\x03](C\x04bagsC\x05shoes\x86C\x05shoesC\x05shoes\x86e."
FOURTH = (
    b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x04bags\x94\x8c\x05shoes\x94\x86\x94h\x02h\x02\x86\x94e."
)


@pytest.mark.parametrize("data", [TEXT, BINARY, SECOND, UNICODE, BYTES, FOURTH])
def test_every_protocol_gives_the_pairs(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "typespaces.p"
    path.write_bytes(data)
    assert read_typespaces(path) == PAIRS


def _calls(target: Path) -> dict[str, bytes]:
    """Pickles that would write a file if they were loaded, by the opcode they do it with."""
    shell = f"touch {target}"
    run = f"S'{shell}'\n".encode()
    return {
        "GLOBAL": b"cos\nsystem\n(" + run + b"tR.",
        "INST": b"(" + run + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + run + b"o.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93(" + run + b"tR.",
        "EXT1": b"\x80\x02\x82\x01(" + run + b"tR.",
        "BINPERSID": b"\x80\x02" + run + b"Q.",
        "PERSID": b"Pos.system\n.",
        "BUILD": b"(S'a'\nS'b'\ntb.",
        "REDUCE": b"S'print'\n(" + run + b"tR.",
        "NEWOBJ": b"\x80\x02S'print'\n)\x81.",
        "in a list": b"](S'bags'\ncos\nsystem\n\x86e.",
    }


@pytest.mark.parametrize("how", list(_calls(Path("x"))))
def test_what_could_run_code_is_refused_and_not_run(how: str, tmp_path: Path) -> None:
    path, target = tmp_path / "typespaces.p", tmp_path / "ran"
    path.write_bytes(_calls(target)[how])
    with pytest.raises(OutfitsError, match=r"opcode \w+.* is refused") as e:
        read_typespaces(path)
    assert str(e.value).startswith(f"{path}: ")
    assert "\n" not in str(e.value)
    assert not target.exists()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no whole pickle"),
        (b"bags,shoes\n", "is no whole pickle"),
        (SECOND[:-1], "is no whole pickle"),
        (SECOND[:20], "is no whole pickle"),
        (TEXT[:-9], "is no whole pickle"),
        (b"\x80\x02]q\x00(h\x07e.", "is no whole pickle"),  # a memo entry that was never put
        (b"e.", "is no whole pickle"),
        (b"\x86.", "TUPLE2 of 0 values"),
        (b"S'a'\nS'b'\na.", "is no whole pickle"),  # appended to text
        (b"\x80\x02]r\xff\xff\xff\xff.", "must be a list of pairs, is list of 0"),  # memo 4,294,967,295
        (b"X" + struct.pack("<I", 2**31) + b"bags.", "is no whole pickle"),  # says two gigabytes, has four letters
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"a.", "is no whole pickle"),
        (b"I1\n.", "opcode INT is refused"),
        (b"}.", "opcode EMPTY_DICT is refused"),
        (b"N.", "opcode NONE is refused"),
        (b"S'bags'\n.", "must be a list of pairs, is str of 4"),
        (b"(S'bags'\nS'shoes'\nt.", "must be a list of pairs, is tuple of 2"),
        (b"](S'bags'\nS'shoes'\ne.", "pair 0: must be a tuple of two names, is str of 4"),
        (b"]((S'bags'\nS'shoes'\nS'hats'\nte.", "pair 0: must be a tuple of two names, is tuple of 3"),
        (b"](]S'bags'\na]e.", "pair 0: must be a tuple of two names, is list of 1"),
        (b"](S'bags'\nS'shoes'\n\x86S'bags'\n)\x86e.", "pair 1: must be two names, has tuple of 0"),
        (b"](S'bags'\nS''\n\x86e.", "pair 0: must be two names, has str of 0"),
        (b"]" * 400_000 + b"a" * 399_999 + b".", "pair 0: must be a tuple"),  # lists in lists
        (b"]q\x00h\x00a.", "pair 0: must be a tuple of two names, is list of 1"),  # a list that holds itself
        (b" " * (MAX_BYTES + 1), "1,000,001 bytes; at most 1,000,000 are read"),
    ],
)  # fmt: skip
def test_damage_and_other_shapes_are_refused_in_one_line(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "typespaces.p"
    path.write_bytes(data)
    with pytest.raises(OutfitsError) as e:
        read_typespaces(path)
    assert said in str(e.value)
    assert str(e.value).startswith(f"{path}: ")
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < len(str(path)) + 300


def test_pairs_are_checked_against_the_categories_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "disjoint").mkdir()
    assert typespaces(tmp_path, "disjoint", {"bags", "shoes"}) is None
    (tmp_path / "disjoint" / "typespaces.p").write_bytes(SECOND)
    assert typespaces(tmp_path, "disjoint", {"bags", "shoes"}) == PAIRS
    with pytest.raises(OutfitsError, match=r"typespaces.p: pair 0: no item is of category 'bags'; known are \['hats'"):
        typespaces(tmp_path, "disjoint", {"shoes", "hats"})
