"""An order of slots: learnt from outfits by a stated statistic, checked as a file, applied to slots alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cli import run
from jobs.train.slot_order import kinds_of, learn, mean_place, to_json
from medal_model.outfits import read_outfits
from schemas.slot_order import SlotOrder, SlotOrderError, parse_slot_order, read_slot_order
from schemas.taxonomy import Taxonomy, load_taxonomy

TAXONOMY = load_taxonomy()


def kinds(*outfits: str) -> list[frozenset[str]]:
    """Each text `n: a b` stands for n outfits of these categories."""
    out = []
    for text in outfits:
        n, names = text.split(": ")
        out += [frozenset(names.split())] * int(n)
    return out


# hats are in half of the outfits with scarves; bags are commoner over all, but rarer beside scarves
OUTFITS = kinds("5: scarves hats", "4: scarves bags shoes", "1: scarves outerwear", "60: bags shoes tops")


@pytest.mark.parametrize(
    ("prior", "first"),
    [
        (0, "hats bags shoes outerwear tops"),
        # with 10 outfits' worth of 64/70 bags beside the 4 in 10: (4 + 9.14) / 20 > (5 + 0.71) / 20
        (10, "shoes bags tops hats outerwear"),
    ],
)
def test_the_order_is_that_of_smoothed_shares(prior: float, first: str) -> None:
    learnt = learn(OUTFITS, TAXONOMY, prior)
    assert set(learnt.order["scarves"]) == set(first.split())
    shares = [learnt.share("scarves", t) for t in learnt.order["scarves"]]
    assert shares == sorted(shares, reverse=True)
    # Shoes and bags are equally likely: the taxonomy says hats before shoes before bags before tops.
    want = first.replace("bags shoes", "shoes bags").split()
    assert list(learnt.order["scarves"]) == want


def test_shares_by_hand() -> None:
    learnt = learn(OUTFITS, TAXONOMY, 10)
    assert learnt.share("scarves", "hats") == pytest.approx((5 + 10 * 5 / 70) / 20)
    assert learnt.share("scarves", "tops") == pytest.approx((0 + 10 * 60 / 70) / 20)
    assert learnt.share("sunglasses", "bags") == pytest.approx(64 / 70), "no outfit has any: the overall share"
    assert learnt.share("scarves", "sunglasses") == 0


def test_an_outfit_counts_once_a_pair_and_only_targets_are_ordered() -> None:
    learnt = learn(kinds("3: tops bags underwear", "1: swimwear tops hats"), TAXONOMY)
    assert learnt.both["tops", "bags"] == 3
    assert learnt.order["tops"] == ("bags", "hats"), "no never-pair, no target that no outfit has"
    assert learnt.order["swimwear"] == ("bags", "hats"), "seen with hats once, bags are in three of four"
    assert "underwear" not in learnt.order, "it has no targets"
    assert set(learn(kinds("3: tops bags"), TAXONOMY, 0).order) == {"tops", "bags"}, "nothing tells about the others"


@pytest.mark.parametrize("outfits", [[], kinds("5: underwear tops"), kinds("5: tops")])
def test_outfits_that_tell_nothing_are_refused(outfits: list[frozenset[str]]) -> None:
    with pytest.raises(ValueError, match="no outfit has two categories"):
        learn(outfits, TAXONOMY)


def test_mean_place() -> None:
    # tops: bottoms outerwear shoes bags ...; bags: shoes tops ...; shoes: bottoms tops all-body bags ...
    assert TAXONOMY.targets["tops"][2:4] == ("shoes", "bags")
    assert mean_place(kinds("2: tops bags"), TAXONOMY) == (4 + 2) / 2
    assert mean_place(kinds("2: tops bags shoes"), TAXONOMY) == pytest.approx(
        ((3 + 4) / 2 + (1 + 2) / 2 + (2 + 4) / 2) / 3
    )
    assert mean_place(kinds("2: underwear"), TAXONOMY) is None


ORDER = {"tops": ("shoes", "nowhere", "underwear", "hats"), "nowhere": ("tops",), "swimwear": ()}


def test_an_order_moves_slots_and_nothing_else() -> None:
    got = SlotOrder(ORDER).applied(TAXONOMY)
    assert got.targets["tops"] == (
        "shoes", "hats", "bottoms", "outerwear", "bags", "jewellery", "accessories", "scarves", "sunglasses",
    )  # fmt: skip
    assert {c: sorted(t) for c, t in got.targets.items()} == {c: sorted(t) for c, t in TAXONOMY.targets.items()}
    assert [c for c in TAXONOMY.categories if got.targets[c] != TAXONOMY.targets[c]] == ["tops"]
    assert got.fingerprint == TAXONOMY.fingerprint, "neighbours do not rest on the order of slots"
    assert got.slot_order
    assert SlotOrder(ORDER).unknown(TAXONOMY) == ("nowhere",)
    own = SlotOrder({c: t[:2] for c, t in TAXONOMY.targets.items()}).applied(TAXONOMY)
    assert own == TAXONOMY, "the taxonomy's own order is none"


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    learnt = learn(OUTFITS, TAXONOMY)
    text = to_json(learnt, TAXONOMY, "drawn/train", ("drawn/valid", kinds("3: scarves bags")))
    (tmp_path / "order.json").write_text(text)
    assert read_slot_order(tmp_path / "order.json").order == learnt.order
    raw = json.loads(text)
    assert raw["learnt"]["outfits"] == 70
    assert raw["outfits"]["bags"] == 64
    assert {"target": "hats", "outfits": 5, "share": 0.2857} in raw["order"]["scarves"]
    held = raw["learnt"]["held_out"]
    assert held["mean_place_learnt"] == (2 + 3) / 2  # of scarves bags are the 2nd, of bags scarves the 3rd
    assert "held_out" not in json.loads(to_json(learnt, TAXONOMY, "drawn/train", ("drawn/valid", [])))["learnt"]


GOOD = {
    "version": 1,
    "learnt": {"from": "a", "sha256": "0" * 64, "outfits": 3, "prior_outfits": 10},
    "outfits": {"tops": 3},
    "order": {"tops": [{"target": "bags", "outfits": 2, "share": 0.5}, {"target": "hats"}]},
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "version: 1 was expected"),
        ({"order": {}}, "order: {} "),
        ({"order": {"tops": []}}, "order.tops: "),
        ({"order": {"tops": ["bags"]}}, "order.tops.0: 'bags' is not of type 'object'"),
        ({"order": {"tops": [{"target": "bags"}] * 2}}, "order.tops: target 'bags' stands twice"),
        ({"order": {"tops": [{"target": "bags", "share": 2}]}}, "order.tops.0.share: 2 is greater than"),
        ({"order": None}, "order: None is not"),
        ({"more": 1}, "'more' was unexpected"),
        ({"learnt": {}}, "learnt: 'from' is a required property"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(change: dict[str, object], told: str) -> None:
    with pytest.raises(SlotOrderError) as e:
        parse_slot_order(json.dumps({**GOOD, **change}), "order.json")
    assert str(e.value).startswith("order.json: ")
    assert told in str(e.value)


@pytest.mark.parametrize(
    ("text", "told"), [("{", "cannot be read as JSON"), ('{"a": 1, "a": 2}', "'a' stands twice"), ("[]", "the file: ")]
)
def test_a_file_that_is_no_object(text: str, told: str) -> None:
    with pytest.raises(SlotOrderError, match=told):
        parse_slot_order(text, "order.json")


def test_the_command_learns_from_the_sample(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made" / "order.json"
    assert run(["slot-order", "--outfits", str(drawn / "outfits"), "--out", str(out)]) == 0
    assert "held-out outfits" in capsys.readouterr().out
    first = out.read_bytes()
    assert SlotOrder(read_slot_order(out).order).unknown(TAXONOMY) == ()
    assert run(["slot-order", "--outfits", str(drawn / "outfits"), "--out", str(out)]) == 0
    assert out.read_bytes() == first
    assert str(tmp_path) not in first.decode(), "no paths of a machine in a file that is checked in"
    assert run(["slot-order", "--outfits", str(tmp_path / "none"), "--out", str(out)]) == 4
    assert run(["slot-order", "--outfits", str(drawn / "outfits"), "--out", str(tmp_path)]) == 2


FASHION = Path(__file__).resolve().parents[3] / "shared" / "data" / "fashion"


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("variant", "want"),
    [("nondisjoint", (3.59, 3.09, 3.06, 4.79)), ("disjoint", (3.62, 3.49, 3.37, 4.14))],
)
def test_the_statistic_is_the_best_on_held_out_outfits(variant: str, want: tuple[float, ...]) -> None:
    """The table of docs/lists.md: the taxonomy's order, overall shares, P(target | source), lift; on test outfits."""
    if not FASHION.is_dir():
        pytest.skip(f"{FASHION} is not on this machine")
    outfits = read_outfits(FASHION, variant, TAXONOMY.category)
    train, test = kinds_of(outfits, "train"), kinds_of(outfits, "test")
    learnt = learn(train, TAXONOMY)

    def by(score: Callable[[str, str], float]) -> Taxonomy:
        order = {s: tuple(sorted(t, key=lambda u: -score(s, u))) for s, t in TAXONOMY.targets.items()}
        return SlotOrder(order).applied(TAXONOMY)

    orders = (
        TAXONOMY,
        by(lambda s, t: learnt.having.get(t, 0)),
        SlotOrder(learnt.order).applied(TAXONOMY),
        by(lambda s, t: learnt.share(s, t) / max(learnt.having.get(t, 0), 1)),
    )
    assert [round(mean_place(test, o) or 0, 2) for o in orders] == list(want)
