"""Any study file: refused in one line, or its runs are those that it says."""

import datetime
import json
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import hostile
import pytest
from hypothesis import strategies as st

from hvae.config import RunConfig
from hvae.settings import SETTINGS, value

VALID: dict[str, list[Any]] = {
    "depth": [1, 2, 3],
    "model.num_layers": [1, 2],
    "latent": [1, 2, 20],
    "loss": ["bce", "mse"],
    "objective": ["documented", "elbo", "iwae"],
    "train.epochs": [1, 10],
    "train.learning_rate": [1e-3, 1, 0.5],
    "train.kl_weight": [0, 0.5, 1.0, -0.0],
    "train.importance_samples": [1, 5],
    "model.latent_dims": [[], [3, 5]],
    "model.inference": ["bottom-up", "top-down"],
    "model.prior_variance": ["unit", "learned"],
    "train.rate_steps": [[], [2, 5]],
    "data.name": ["digits", "mnist"],
    "data.binarize": ["none", "static"],
    "evaluation.importance_samples": [1, 100],
}
BY_PATH = {f"{known.section}.{known.key}": name for name, known in SETTINGS.items()}
WRONG = st.sampled_from(["seed", "train.seed", "model.input_dim", "train", "dept", "", "a.b.c"])
SCRAPS = st.one_of(
    st.sampled_from('[]"=\n.,{}#9-e\ufeff\x00'),
    st.sampled_from(
        ["[[", "'''", "[axes]\n", "[[variants]]\n", "seeds = 2\n", "nan", "true", "\\u0000"]
    ),
)


@st.composite
def pairs(draw: st.DrawFn, is_wild: bool, as_list: bool) -> dict[str, Any]:
    """Real settings with values that they may have; wild ones have others among them."""
    table: dict[str, Any] = {}
    known = st.sampled_from(sorted(VALID))
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        name = draw(st.one_of(known, known, known, WRONG, hostile.texts) if is_wild else known)
        fitting = st.sampled_from(VALID.get(name, [1]))
        others = st.one_of(hostile.plain, hostile.dates)
        one = draw(st.one_of(fitting, fitting, fitting, others) if is_wild else fitting)
        if as_list:
            more = draw(st.lists(fitting, max_size=2))
            distinct = [one, *(other for other in more if is_wild or other != one)][:2]
            one = draw(st.sampled_from([distinct, distinct, one, []])) if is_wild else distinct
        table[name] = one
    return table


@st.composite
def documents(draw: st.DrawFn, is_wild: bool) -> dict[str, Any]:
    """A document of the right form, more or less."""
    texts = st.one_of(hostile.texts, hostile.plain) if is_wild else hostile.texts
    names = texts if is_wild else st.text("aB0 β<$=|_", min_size=1, max_size=8)
    found: dict[str, Any] = {
        "axes": draw(pairs(is_wild, as_list=True)),
        "set": draw(pairs(is_wild, as_list=False)),
        "seeds": draw(
            st.one_of(st.integers(1, 3), hostile.plain) if is_wild else st.integers(1, 3)
        ),
        "question": draw(texts),
        "variants": [
            {"name": draw(names), "set": draw(pairs(is_wild, as_list=False))}
            for _ in range(draw(st.sampled_from([0, 0, 1, 2])))
        ],
    }
    for key in draw(st.sets(st.sampled_from(sorted(found)), max_size=3)):
        del found[key]
    if is_wild and draw(st.integers(0, 3)) == 0:
        found[draw(hostile.texts)] = draw(hostile.plain)
    if draw(st.integers(0, 4)) == 0:
        found["name"] = draw(texts) if is_wild else draw(st.from_regex(r"[A-Z][a-z0-9_-]{0,9}\Z"))
    return found


def as_toml(document: dict[str, Any]) -> str:
    return "".join(f"{_key(key)} = {_toml(held)}\n" for key, held in document.items())


def _key(key: str) -> str:
    return json.dumps(key)


def _toml(held: Any) -> str:
    if isinstance(held, dict):
        return "{" + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in held.items()) + "}"
    if isinstance(held, list):
        return "[" + ", ".join(map(_toml, held)) + "]"
    if isinstance(held, str):
        return json.dumps(held, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(held, bool):
        return str(held).lower()
    if isinstance(held, datetime.date | datetime.time):
        return held.isoformat()
    return str(held)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """By turns a right document; a wild one; one that is cut, repeated and patched; any bytes."""
    kind = draw(st.sampled_from(["right", "right", "wild", "patched", "bytes"]))
    text = as_toml(draw(documents(kind in ("wild", "bytes"))))
    for _ in range(draw(st.integers(1, 2)) if kind == "patched" else 0):
        first, second = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        scrap = draw(st.one_of(SCRAPS, st.just(text[first:second])))
        text = text[:first] + scrap + draw(st.sampled_from([text[first:], text[second:]]))
    mark = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))
    if kind == "bytes":
        mark, text = draw(st.sampled_from([b"\xff\xfe", b"\x00", b""])), text[:9]
        return mark + text.encode("utf-8", "surrogatepass") + draw(st.binary(max_size=40))
    return mark + text.encode("utf-8", "surrogatepass")


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, held in table.items():
        inner = isinstance(held, dict)
        found |= flat(held, f"{prefix}{key}.") if inner else {f"{prefix}{key}": held}
    return {BY_PATH.get(name, name): _frozen(held) for name, held in found.items()}


def _frozen(held: Any) -> Any:
    return tuple(map(_frozen, held)) if isinstance(held, list) else held


def said(document: dict[str, Any]) -> set[tuple[tuple[str, Any], ...]]:
    """The runs that a document asks for, by the plainest reading of it."""
    default = {name: value(RunConfig(), name) for name in SETTINGS}
    axes, common = flat(document.get("axes", {})), flat(document.get("set", {}))
    variants = [flat(one.get("set", {})) for one in document.get("variants", [])] or [{}]
    found = set()
    for seed, own in product(range(document.get("seeds", 1)), variants):
        for values in product(*axes.values()):
            run = default | common | dict(zip(axes, values, strict=True)) | own | {"seed": seed}
            run["model.input_dim"] = 64 if run["data.name"] == "digits" else 784
            if run["model.latent_dims"]:
                run["latent"] = max(run["model.latent_dims"])
            found.add(tuple(sorted(run.items())))
    return found


def test_a_study_file_is_refused_in_a_line_or_means_what_it_says(
    fuzz: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.toml"

    def check(content: bytes) -> str:
        path.write_bytes(content)
        before = hostile.files_under(tmp_path)
        result = hostile.call(["status", "mine.toml", "--json"])
        planned = hostile.call(["plan", "mine.toml"])
        hostile.call(["report", "mine.toml", "--format", "csv"])
        assert hostile.files_under(tmp_path) == before
        assert planned.exit_code == result.exit_code
        if result.exit_code:
            return "refused"
        document = tomllib.loads(content.decode("utf-8-sig"))
        configs = [run["config"] for run in json.loads(result.stdout)["runs"].values()]
        assert {tuple(sorted(flat(config).items())) for config in configs} == said(document)
        return "accepted"

    fuzz("study files", 150, files(), check)
