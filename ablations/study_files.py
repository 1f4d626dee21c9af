"""Studies of one's own: TOML files, and the copy of one beside the records of its runs.

Every key may be left out but what is to differ from the documented run. `axes` are swept, `set` is
common to all runs, variants are compared with the first of them, `seeds` counts from 0:

    name = "wake-up"
    question = "What wakes the upper levels?"
    budget = "a minute on two CPU cores"
    seeds = 3

    [axes]
    depth = [2, 3]
    "train.learning_rate" = [1e-3, 3e-3]

    [set]
    "train.epochs" = 10
    "data.name" = "digits"

    [[variants]]
    name = "documented"

    [[variants]]
    name = "ELBO"
    set = { "train.objective" = "elbo" }

    [[variants]]
    name = "ELBO, warm-up"
    set = { "train.objective" = "elbo", "train.kl_warmup_epochs" = 5 }

Settings are named as on the command line, `section.key` or short (`depth`, `latent`, `loss`,
`objective`); tables of sections mean the same, `[set.train] epochs = 10`. Left out, `name` is the
file's.
"""

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ablations.presets import PRESETS
from ablations.studies import NAME, Study, Variant, by_name, require_name
from hvae.records.files import overwrite, writing_under
from hvae.validation import require_known

COPY = "study.toml"  # in the folder of the records
KEYS = ("name", "question", "budget", "seeds", "axes", "set", "variants")
OLDER_AXES = {"depths": "depth", "latents": "latent", "losses": "loss", "objectives": "objective"}

T = TypeVar("T")


def load_study(argument: str, results: Path = Path("results")) -> Study:
    """The preset of that name, the study in that `*.toml` file, or the one whose copy lies in
    `results/NAME`.

    Raises `ValueError` on an unknown name, an unreadable file, an unknown key or a bad value.
    """
    if argument in PRESETS:
        return PRESETS[argument]
    if argument.lower().endswith(".toml"):
        return _read(Path(os.path.expanduser(argument)), argument, results)
    if _is_reserved(argument):
        raise ValueError(
            f"study: {argument!r} is no study; `hvae reproduce` and `hvae bench` fill it"
        )
    folder = results / argument
    if NAME.fullmatch(argument):
        if (folder / COPY).is_file():
            study = _read(folder / COPY, "", results)
            if study.name != argument:  # a folder that was copied: its name leads to another
                raise ValueError(
                    f"study: {folder} holds the study {study.name!r}; allowed: a folder named "
                    "like its study"
                )
            return study
        if (folder / "runs").is_dir():
            raise ValueError(
                f"study: of {argument!r} only records are in {folder}; allowed: its *.toml file"
            )
    kept = {file.parent.name for file in results.glob(f"*/{COPY}")}
    known = ", ".join(sorted({*PRESETS, *kept}))
    raise ValueError(f"study: {argument!r} is not known; allowed: {known}, a *.toml file")


def as_file(study: Study) -> Study:
    """The study, with the text of a file of it where it has none and is no preset: what was made in
    Python is then found by its name, too. Raises `ValueError` where no file may be called that."""
    if study.toml or study.name in PRESETS:
        return study
    named = {key: getattr(study, key) for key in ("name", "question", "budget", "seeds")}
    lines = [*_lines(named), "[axes]", *_lines(study.axes), "[set]", *_lines(study.settings)]
    for variant in study.variants:
        settings = ", ".join(_lines(variant.settings))
        lines += ["[[variants]]", *_lines({"name": variant.name}), f"set = {{ {settings} }}"]
    _name(named, "")
    text = "\n".join([*lines, ""])
    text.encode()  # raises here what could not be written
    return replace(study, toml=text)


def _lines(values: Mapping[str, Any]) -> list[str]:
    """Keys and values of TOML: text, numbers and lists of them are written as in JSON, but DEL."""
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}
    return [f"{json.dumps(k)} = {text}".replace("\x7f", "\\u007f") for k, text in texts.items()]


def keep(study: Study, folder: Path) -> None:
    """Leave a copy of the study's file beside its records, so that its name is enough from then
    on. Raises `ValueError` naming the folder where it cannot be written."""
    path, content = folder / COPY, study.toml.encode()
    if content and not (path.is_file() and path.read_bytes() == content):
        with writing_under(folder):
            overwrite(path, content)


def _read(path: Path, file: str, results: Path) -> Study:
    try:
        text = path.read_text(encoding="utf-8-sig")
        return _study(tomllib.loads(text), path, file, results, text)
    except OSError as error:
        raise ValueError(f"study: cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # of TOML and UTF-8 too
        raise ValueError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: is nested too deeply; allowed: settings and lists") from error


def _study(values: dict[str, Any], path: Path, file: str, results: Path, text: str) -> Study:
    _refuse_older(values)
    require_known("key", values, KEYS)
    if not (values.get("axes") or values.get("variants") or "set" in values):
        raise ValueError("nothing is asked; allowed: [axes], [set] or [[variants]]")
    variants = _typed("variants", values, list[Any](), "tables [[variants]]")
    where = Path(os.path.abspath(path))
    is_copy = path.name == COPY and str(where.parent.parent) == os.path.abspath(results)
    name = _name(values, where.parent.name if is_copy else path.stem)
    return Study(
        name=name,
        question=_text("question", values, ""),
        settings=by_name(_table("set", values)),
        axes=by_name(_table("axes", values)),
        variants=tuple(map(_variant, variants)),
        seeds=values.get("seeds", 1),
        budget=_text("budget", values, "not stated"),
        file=file,
        toml=text,
        folder=results / name,
    )


def _refuse_older(values: dict[str, Any]) -> None:
    """Raise `ValueError` that shows the form of today for every part of an older one."""
    axes = dict(_table("axes", values))
    told = [f"{old!r} is now {new} under [axes]" for old, new in OLDER_AXES.items() if old in axes]
    for name, held in _table("base", values):
        told.append(
            f"'base.{name}' is now {json.dumps(name)} = {json.dumps(held, default=str)} under [set]"
        )
    if told:
        raise ValueError(f"of an older form: {'; '.join(told)}")


def flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and what they hold: `{"train": {"epochs": 5}}` -> `("train.epochs", 5)`. A table
    of nothing is held as it is, for whoever reads the name to refuse."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _name(values: dict[str, Any], default: str) -> str:
    name = _text("name", values, default)
    if name.lower() in PRESETS or _is_reserved(name):
        raise ValueError(f"name: {name!r} is that of a study of hvae's own; allowed: any other")
    try:
        require_name(name)
    except ValueError as error:
        hint = "" if "name" in values else '; or write name = "…" in the file'
        raise ValueError(f"{error}{hint}") from error
    return name


def _is_reserved(name: str) -> bool:
    """Whether `hvae reproduce` or `hvae bench` fills the folder of that name."""
    return name.lower() == "bench" or name.lower().startswith("reproduce")


def _variant(values: Any) -> Variant:
    if not isinstance(values, dict):
        raise ValueError(f"variants: {values!r} is not allowed; allowed: tables [[variants]]")
    require_known("key of a variant", values, ("name", "set"))
    return Variant(_text("name", values, ""), by_name(_table("set", values)))


def _table(name: str, values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return flat(_typed(name, values, dict[str, Any](), f"a table [{name}]"))


def _text(name: str, values: dict[str, Any], default: str) -> str:
    return _typed(name, values, default, "text in quotes")


def _typed(name: str, values: dict[str, Any], default: T, allowed: str) -> T:
    """What a key holds. Raises `ValueError` where it is not of the default's type."""
    found: T = values.get(name, default)
    if not isinstance(found, type(default)):
        raise ValueError(f"{name}: {found!r} is not allowed; allowed: {allowed}")
    return found
