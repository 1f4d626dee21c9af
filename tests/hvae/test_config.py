"""hvae/config.py: validation, the digest that names a record, counts in closed form."""

import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import record
from hypothesis import example, given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from hvae.closed_form import flops_per_image, parameter_count, weight_count
from hvae.config import (
    ACTIVATIONS,
    BINARIZATIONS,
    INFERENCES,
    LOSSES,
    OUTPUT_BIASES,
    PRIOR_VARIANCES,
    SECTIONS,
    VERSION,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    as_dict,
    from_dict,
)
from hvae.datasets import DATASETS
from hvae.fields import Setting
from hvae.model.hierarchy import HierarchicalVAE
from hvae.model.objectives import Settings, objective
from hvae.records.store import Store
from hvae.settings import (
    SETTINGS,
    axis_names,
    describe,
    digest,
    override,
    require_packable,
    shared,
    value,
)
from hvae.training.traced import Traced

# Changing this changes the name of every record: all that exist anywhere are orphaned.
DEFAULT_DIGEST = "2430f1a2ad2982d0"

COUNT, NATURAL = "integers ≥ 1", "integers ≥ 0"
SIZE_OR_MORE, AMOUNT = "finite numbers > 0", "finite numbers ≥ 0"
NO_COUNT = [0, -1, 1.0, "1", None, True, math.nan]
NO_NATURAL = [-1, 0.0, "0", None, False]
NO_AMOUNT = [-0.1, math.nan, math.inf, "1", None, True, 1j]
PARTS = {
    "activation": ACTIVATIONS,
    "prior_variance": PRIOR_VARIANCES,
    "inference": INFERENCES,
    "output_bias": OUTPUT_BIASES,
}
SIZES = "lists of integers ≥ 1"
NO_SIZES = [1, "1", None, [0, 1], (1.0, 2), [True, 2], [[1], [2]]]
BAD: dict[tuple[type, str, str], list[Any]] = {
    (ModelConfig, "input_dim", COUNT): NO_COUNT,
    (ModelConfig, "hidden_dim", COUNT): NO_COUNT,
    (ModelConfig, "latent_dim", COUNT): NO_COUNT,
    (ModelConfig, "num_layers", COUNT): NO_COUNT,
    (TrainConfig, "epochs", COUNT): NO_COUNT,
    (TrainConfig, "batch_size", COUNT): NO_COUNT,
    (TrainConfig, "importance_samples", COUNT): NO_COUNT,
    (EvaluationConfig, "importance_samples", COUNT): NO_COUNT,
    (EvaluationConfig, "nll_images", "integers ≥ 2"): [*NO_COUNT, 1],
    (TrainConfig, "seed", NATURAL): NO_NATURAL,
    (TrainConfig, "kl_warmup_epochs", NATURAL): NO_NATURAL,
    (TrainConfig, "learning_rate", SIZE_OR_MORE): [*NO_AMOUNT, 0, 0.0],
    (TrainConfig, "kl_weight", AMOUNT): NO_AMOUNT,
    (TrainConfig, "free_bits", AMOUNT): NO_AMOUNT,
    (ModelConfig, "hidden_layers", COUNT): NO_COUNT,
    (ModelConfig, "latent_dims", SIZES): NO_SIZES,
    (ModelConfig, "hidden_dims", SIZES): NO_SIZES,
    (ModelConfig, "activation", "relu, tanh"): ["ReLU", "", None],
    (ModelConfig, "prior_variance", "unit, learned"): ["one", "", None],
    (ModelConfig, "inference", "bottom-up, top-down"): ["topdown", "", None],
    (ModelConfig, "output_bias", "drawn, data"): ["zero", "", None],
    (TrainConfig, "rate_steps", SIZES): NO_SIZES,
    (TrainConfig, "rate_factor", SIZE_OR_MORE): [*NO_AMOUNT, 0, 0.0],
    (TrainConfig, "loss", "bce, mse, continuous-bernoulli, gaussian"): ["BCE", "", None, 1],
    (TrainConfig, "objective", "documented, elbo, iwae"): ["vae", "", None],
    (DataConfig, "name", "digits, mnist"): ["MNIST", "", None],
    (DataConfig, "binarize", "none, static, dynamic"): ["yes", "", None, False],
    (DataConfig, "path", "text"): [1, None, ["x.npz"]],
    (DataConfig, "sha256", "64 hex digits"): ["ab", "AB" * 32, None, 7],
    (DataConfig, "sizes", SIZES): NO_SIZES,
}
CASES = [(*where, value) for where, values in BAD.items() for value in values]

NEEDS: dict[str, dict[str, Any]] = {  # what must be set for a field to have a meaning
    "importance_samples": {"objective": "iwae"},
    "rate_factor": {"rate_steps": (3,)},
}
CHANGES = [
    ("model", "hidden_dim", 99),
    ("model", "latent_dim", 21),
    ("model", "num_layers", 3),
    ("model", "latent_dims", (20, 10)),
    ("model", "hidden_dims", (100, 50)),
    ("model", "hidden_layers", 2),
    ("model", "activation", "tanh"),
    ("model", "prior_variance", "learned"),
    ("model", "inference", "top-down"),
    ("model", "output_bias", "data"),
    ("train", "rate_steps", (10, 20)),
    ("train", "rate_factor", 0.5),
    ("train", "loss", "mse"),
    ("train", "objective", "elbo"),
    ("train", "epochs", 31),
    ("train", "batch_size", 63),
    ("train", "learning_rate", 1.1e-3),
    ("train", "seed", 1),
    ("train", "kl_weight", 0.5),
    ("train", "kl_warmup_epochs", 1),
    ("train", "free_bits", 0.1),
    ("train", "importance_samples", 2),
    ("data", "name", "fashion-mnist"),
    ("data", "binarize", "static"),
    ("evaluation", "importance_samples", 999),
    ("evaluation", "nll_images", 999),
]


def counts(most: int) -> st.SearchStrategy[int]:
    return st.integers(1, most)


amounts = st.one_of(st.integers(0, 9), st.floats(0, 1e6, allow_subnormal=False))
rates = st.one_of(st.integers(1, 9), st.floats(1e-12, 1e6))


@st.composite
def run_configs(draw: st.DrawFn) -> RunConfig:
    """Any valid run."""
    name = draw(st.sampled_from(sorted(DATASETS)))
    is_iwae = draw(st.booleans())
    own: dict[str, Any] = {"objective": "iwae", "importance_samples": draw(counts(100))}
    if not is_iwae:
        own = {"objective": draw(st.sampled_from(["documented", "elbo"]))}
        own |= {"kl_weight": draw(amounts), "free_bits": draw(amounts)}
        own |= {"kl_warmup_epochs": draw(st.integers(0, 50))}
    train = TrainConfig(
        draw(st.sampled_from(LOSSES)),
        epochs=draw(counts(100)),
        batch_size=draw(counts(512)),
        learning_rate=draw(rates),
        seed=draw(st.integers(0, 2**40)),
        **own,
    )
    depth = draw(counts(6))
    sizes = (DATASETS[name].pixels, draw(counts(200)), draw(counts(64)), depth)
    by_level = st.lists(counts(64), min_size=depth, max_size=depth)
    parts: dict[str, Any] = {"hidden_layers": draw(counts(3))}
    for part, allowed in PARTS.items():
        parts[part] = draw(st.sampled_from(allowed))
    if draw(st.booleans()):
        parts["latent_dims"] = latent_dims = draw(by_level)
        sizes = (*sizes[:2], max(latent_dims), depth)
    data = DataConfig(name, draw(st.sampled_from(BINARIZATIONS)))
    return RunConfig(
        ModelConfig(*sizes, **parts), train, data, EvaluationConfig(draw(counts(5000)))
    )


@pytest.mark.parametrize(("section", "name", "allowed", "value"), CASES)
def test_a_bad_value_is_refused_naming_the_field_the_value_and_what_is_allowed(
    section: type, name: str, allowed: str, value: object
) -> None:
    with pytest.raises(ValueError, match=f"^{name}: ") as refused:
        section(**{name: value})
    message = str(refused.value)
    assert repr(value) in message
    assert f"allowed: {allowed}" in message
    assert "\n" not in message


def test_an_integer_too_large_for_a_float_is_refused_like_any_bad_value() -> None:
    with pytest.raises(ValueError, match="learning_rate"):
        TrainConfig(learning_rate=10**400)


def test_every_field_has_its_refusals_tested() -> None:
    fields = {(s, field.name) for s in SECTIONS.values() for field in dataclasses.fields(s)}
    assert fields == {(section, name) for section, name, _ in BAD}


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_the_input_must_have_the_pixels_of_the_data(name: str) -> None:
    RunConfig(ModelConfig(DATASETS[name].pixels), data=DataConfig(name))
    with pytest.raises(
        ValueError, match=f"input_dim: 17 .*'{name}'; allowed: {DATASETS[name].pixels}"
    ):
        RunConfig(ModelConfig(17), data=DataConfig(name))


@pytest.mark.parametrize(
    ("name", "value"), [("kl_weight", 0.5), ("kl_warmup_epochs", 3), ("free_bits", 0.1)]
)
def test_iwae_refuses_what_weighs_a_kl_and_the_others_take_it(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}: {value}.*iwae.*allowed: "):
        TrainConfig(objective="iwae", **{name: value})
    for other in ("documented", "elbo"):
        assert getattr(TrainConfig(objective=other, **{name: value}), name) == value


@pytest.mark.parametrize("other", ["documented", "elbo"])
def test_importance_samples_belong_to_iwae_alone(other: str) -> None:
    told = f"importance_samples: 5 .*'{other}', only for 'iwae'; allowed: 1"
    with pytest.raises(ValueError, match=told):
        TrainConfig(objective=other, importance_samples=5)
    assert TrainConfig(objective="iwae", importance_samples=5).importance_samples == 5


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().train.seed = 1  # type: ignore[misc]


def test_the_default_digest_is_the_one_that_names_existing_records() -> None:
    assert digest(RunConfig()) == DEFAULT_DIGEST


def test_a_fresh_process_finds_the_same_digest(run_python: Callable[..., str]) -> None:
    code = "from hvae.settings import *; print(digest(override(RunConfig(), {'seed': 3})))"
    assert run_python(code) == digest(RunConfig(train=TrainConfig(seed=3)))


@pytest.mark.parametrize("name", ["kl_weight", "free_bits", "learning_rate"])
def test_an_integer_and_the_equal_float_have_one_digest(name: str) -> None:
    values: tuple[Any, Any] = 2, 2.0
    whole, real = (RunConfig(train=TrainConfig(**{name: value})) for value in values)
    assert digest(whole) == digest(real)


def test_sizes_by_level_that_are_equal_are_one_size() -> None:
    assert ModelConfig(latent_dims=(20, 20), hidden_dims=(50, 50)) == ModelConfig(hidden_dim=50)
    assert ModelConfig(latent_dims=[100, 50]) == ModelConfig(latent_dim=100, latent_dims=(100, 50))
    assert ModelConfig(num_layers=3, latent_dims=(5, 9, 7)).latents == (5, 9, 7)
    assert ModelConfig(num_layers=3).latents == (20, 20, 20)
    assert ModelConfig(hidden_dims=(200, 100)).hiddens == (200, 100)


@pytest.mark.parametrize(
    ("section", "given", "complaint"),
    [
        (ModelConfig, {"latent_dims": (4, 3, 2)}, r"latent_dims: \[4, 3, 2\] .* levels, 2"),
        (ModelConfig, {"latent_dims": (4, 3), "latent_dim": 7}, "latent_dim: 7 .*allowed: 4, or"),
        (ModelConfig, {"hidden_dims": (4, 3), "hidden_dim": 7}, "hidden_dim: 7 .*allowed: 4, or"),
        (TrainConfig, {"rate_steps": (3, 2)}, r"rate_steps: \[3, 2\] .* ascending"),
        (TrainConfig, {"rate_steps": (3, 3)}, r"rate_steps: \[3, 3\] .* ascending"),
        (TrainConfig, {"rate_factor": 0.5}, "rate_factor: 0.5 has no meaning without rate_steps"),
    ],
)
def test_what_does_not_go_together_is_refused(
    section: type, given: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}"):
        section(**given)


def test_the_learning_rate_falls_after_each_step() -> None:
    train = TrainConfig(learning_rate=0.8, rate_steps=(1, 4), rate_factor=0.5)
    assert [train.rate(epoch) for epoch in range(1, 7)] == [0.8, 0.4, 0.4, 0.4, 0.2, 0.2]
    assert TrainConfig().rate(30) == TrainConfig().learning_rate


def test_top_down_a_pack_must_share_the_latent_size() -> None:
    def runs(inference: str) -> list[RunConfig]:
        models = (ModelConfig(latent_dim=size, inference=inference) for size in (2, 5))
        return [RunConfig(model) for model in models]

    require_packable(runs("bottom-up"))
    with pytest.raises(ValueError, match=r"^latent: a pack must share one value"):
        require_packable(runs("top-down"))


def test_zero_of_either_sign_has_one_digest() -> None:
    one, other = (RunConfig(train=TrainConfig(free_bits=value)) for value in (-0.0, 0.0))
    assert one == other
    assert digest(one) == digest(other)


@given(run_configs())
@example(RunConfig())
def test_from_dict_inverts_as_dict_also_through_json_in_any_order(config: RunConfig) -> None:
    values = as_dict(config)
    assert from_dict(values) == config
    mixed = {
        name: dict(reversed(section.items())) for name, section in reversed(list(values.items()))
    }
    back = from_dict(json.loads(json.dumps(mixed)))
    assert back == config
    assert digest(back) == digest(config)


@pytest.mark.parametrize(("section", "name", "value"), CHANGES)
def test_every_single_field_changes_the_digest(section: str, name: str, value: Any) -> None:
    needed = NEEDS.get(name, {}) if section == "train" else {}
    base = as_dict(RunConfig(train=TrainConfig(**needed)))
    changed = base | {section: base[section] | {name: value}}
    assert digest(from_dict(changed)) != digest(from_dict(base))


def test_the_list_of_changes_holds_every_field_but_those_that_data_of_ones_own_decide() -> None:
    fields = {(name, f.name) for name, s in SECTIONS.items() for f in dataclasses.fields(s)}
    assert {change[:2] for change in CHANGES} == fields - {
        ("model", "input_dim"),
        *(("data", name) for name in ("path", "sha256", "sizes")),
    }


OWN = {"name": "own", "path": "a/own.npz", "sha256": "ab" * 32, "sizes": (5, 4, 3, 2)}


def test_data_of_ones_own_are_named_by_their_content_wherever_they_lie() -> None:
    def named(**changed: Any) -> str:
        return digest(RunConfig(ModelConfig(6), data=DataConfig(**OWN | changed)))

    assert named(path="elsewhere.npz") == named()
    others = [{"sha256": "cd" * 32}, {"sizes": (5, 4, 2, 3)}, {"sizes": (6, 4, 3, 2)}]
    assert len({named(), *(named(**other) for other in others)}) == 4
    assert DataConfig(**OWN).dataset.shape == (3, 2)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (OWN | {"sizes": (5, 4, 6)}, r"sizes: \[5, 4, 6\] .* allowed: four beside a path"),
        (OWN | {"sha256": ""}, "sha256: '' .* allowed: 64 hex digits"),
        ({"sizes": (5, 4, 3, 2)}, "sizes: .* allowed: none without a path"),
    ],
)
def test_data_of_ones_own_need_all_that_is_known_of_them(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        DataConfig(**given)


def test_missing_keys_take_the_defaults() -> None:
    assert from_dict({}) == RunConfig()
    assert from_dict({"train": {"seed": 4}}) == RunConfig(train=TrainConfig(seed=4))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimizer": {}}, "unknown section 'optimizer'; allowed: data, evaluation, model, train"),
        ({"train": {"sed": 1}}, "unknown key of train 'sed'; allowed: batch_size, epochs"),
        ({"data": {"loss": "bce"}}, "unknown key of data 'loss'; allowed: binarize, name"),
        ({"model": [1, 2]}, r"model: \[1, 2\] is no table of settings"),
    ],
)
def test_unknown_keys_are_refused_naming_the_known(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_dict(values)


def test_the_documented_model_has_174084_parameters() -> None:
    assert parameter_count(ModelConfig()) == 174_084


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_parameter_count_is_that_of_the_model_at_every_latent_size(depth: int) -> None:
    others = itertools.cycle(itertools.product((7, 100), (64, 784)))
    for latent, (hidden, pixels) in zip(range(1, 65), others, strict=False):
        sizes = ModelConfig(pixels, hidden, latent, depth)
        with torch.device("meta"):
            model = HierarchicalVAE(pixels, hidden, latent, depth)
        assert parameter_count(sizes) == sum(p.numel() for p in model.parameters()), sizes
        weights = sum(p.numel() for p in model.parameters() if p.ndim == 2)
        assert weight_count(sizes) == weights, sizes


def digits_run(depth: int, name: str = "documented", samples: int = 1, **train: Any) -> RunConfig:
    model = ModelConfig(64, 12, 5, depth)
    options = TrainConfig(objective=name, importance_samples=samples, **train)
    return RunConfig(model, options, DataConfig("digits"))


def autograd_flops(run: RunConfig, images: int) -> int:
    """What PyTorch counts in one training step of one model by plain autograd."""
    sizes, samples = run.model, run.train.importance_samples
    model = HierarchicalVAE(sizes.input_dim, sizes.hidden_dim, sizes.latent_dim, sizes.num_layers)
    lead = (samples,) if run.train.objective == "iwae" else ()
    noise = torch.zeros(*lead, images, sizes.num_layers, sizes.latent_dim)
    x = torch.zeros(images, sizes.input_dim)
    settings = Settings(torch.ones(()), torch.tensor(-torch.inf), torch.ones(sizes.latent_dim))
    with FlopCounterMode(display=False) as counter:
        terms = objective(run.train.objective, run.train.loss, model(x, noise), x, settings)
        terms.loss.backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


@pytest.mark.parametrize(("name", "samples"), [("documented", 1), ("elbo", 1), ("iwae", 3)])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_flops_are_those_of_an_autograd_training_step(depth: int, name: str, samples: int) -> None:
    run = digits_run(depth, name, samples)
    assert autograd_flops(run, images=10) == 10 * flops_per_image(run)


def test_a_documented_step_of_64_images_takes_56_megaflop() -> None:
    run = RunConfig()
    assert autograd_flops(run, images=64) == 64 * flops_per_image(run)
    assert round(64 * flops_per_image(run) / 1e6) == 56


def test_the_engine_multiplies_no_more_than_plain_autograd() -> None:
    runs = [digits_run(2, batch_size=10, seed=seed) for seed in (0, 1, 2)]
    (group,) = Traced(runs, torch.device("cpu"), torch.float32).groups
    x, noise = torch.zeros(3, 10, 64), torch.zeros(3, 10, 1, 2, 5)
    group.step(x, noise)  # traced in its first call
    with FlopCounterMode(display=False) as counter:
        group.step(x, noise)
    assert counter.get_total_flops() == 3 * 10 * flops_per_image(runs[0])


# A default is a contract: where one changes, `config.VERSION` is raised, and with it every digest.
DEFAULTS = {
    "version": 1,
    "model": {
        "input_dim": 784,
        "hidden_dim": 100,
        "latent_dim": 20,
        "num_layers": 2,
        "latent_dims": [],
        "hidden_dims": [],
        "hidden_layers": 1,
        "activation": "relu",
        "prior_variance": "unit",
        "inference": "bottom-up",
        "output_bias": "drawn",
    },
    "train": {
        "loss": "bce",
        "objective": "documented",
        "epochs": 30,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "seed": 0,
        "kl_weight": 1.0,
        "kl_warmup_epochs": 0,
        "free_bits": 0.0,
        "importance_samples": 1,
        "rate_steps": [],
        "rate_factor": 0.1,
    },
    "data": {"name": "mnist", "binarize": "none", "path": "", "sha256": "", "sizes": []},
    "evaluation": {"importance_samples": 1000, "nll_images": 400},
}


def test_the_defaults_are_those_that_digests_leave_out() -> None:
    assert {"version": VERSION, **as_dict(RunConfig())} == DEFAULTS


def test_a_new_field_with_a_neutral_default_leaves_every_digest_and_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunConfig(train=TrainConfig(epochs=3, seed=1))
    store = Store(tmp_path)
    store.open_for_writing()
    before = digest(run)
    store.write(record(run))
    field = dataclasses.field(default=7, metadata={"setting": Setting("spare")})
    wider = dataclasses.make_dataclass(
        "TrainConfig", [("spare", int, field)], bases=(TrainConfig,), frozen=True
    )
    monkeypatch.setitem(SECTIONS, "train", wider)
    spare = Setting("spare", name="train.spare", section="train", key="spare")
    monkeypatch.setitem(SETTINGS, "train.spare", spare)
    same, other = (RunConfig(train=wider(epochs=3, seed=1, spare=n)) for n in (7, 8))
    assert digest(same) == before
    assert store.read(digest(same)).run == same
    assert digest(other) != before


def test_what_may_share_a_pack_is_said_where_a_field_is_declared() -> None:
    run = RunConfig(train=TrainConfig(objective="elbo"))
    changed = {
        "depth": 3,
        "latent": 3,
        "loss": "mse",
        "train.learning_rate": 0.1,
        "train.kl_weight": 2.0,
    }
    pack = [run, override(run, changed), override(run, {"seed": 4, "train.free_bits": 0.5})]
    require_packable(pack)
    assert len({shared(member) for member in pack}) == 1
    for name, other in {"objective": "documented", "train.epochs": 1}.items():
        with pytest.raises(ValueError, match=rf"^{name}: a pack must share one value; got "):
            require_packable([*pack, override(run, {name: other})])


def test_settings_are_overridden_by_name_and_data_bring_their_pixels() -> None:
    run = override(RunConfig(), {"model.num_layers": 3, "data.name": "digits", "latent": 5})
    assert run.model == ModelConfig(64, 100, 5, 3)
    assert value(run, "depth") == value(run, "model.num_layers") == 3
    with pytest.raises(ValueError, match=r"^depth: 0 is not allowed; allowed: integers ≥ 1$"):
        override(run, {"depth": 0})
    with pytest.raises(ValueError, match=r"^unknown setting 'dept'; allowed: .*depth.*"):
        override(run, {"dept": 1})


def test_settings_that_depend_on_each_other_are_validated_together() -> None:
    run = override(RunConfig(), {"train.importance_samples": 5, "objective": "iwae"})
    assert (run.train.objective, run.train.importance_samples) == ("iwae", 5)


def test_a_value_is_described_as_a_reader_names_it() -> None:
    given = {"depth": 2, "loss": "mse", "objective": "elbo", "train.kl_weight": 0.5}
    said = [describe(name, value) for name, value in given.items()]
    assert said == ["depth 2", "MSE", "ELBO", "KL weight 0.5"]
    assert describe("data.binarize", "dynamic") == "binarised anew"
    assert describe("data.name", "kmnist") == "KMNIST"


def test_every_field_says_what_a_reader_and_a_pack_must_know() -> None:
    assert len(SETTINGS) == sum(len(dataclasses.fields(section)) for section in SECTIONS.values())
    assert "seed" not in axis_names()
    assert "model.input_dim" not in axis_names()


def test_a_size_in_a_list_that_no_float_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="latent_dims: it is too large; allowed: integers from 1"):
        ModelConfig(num_layers=2, latent_dims=(10**400, 5))


def test_images_of_ones_own_have_a_name_of_text() -> None:
    own = {"path": "x.npz", "sha256": "ab" * 32, "sizes": (9, 9, 8, 8)}
    with pytest.raises(ValueError, match=r"^name: \[1\] is not allowed; allowed: text$"):
        DataConfig([1], **own)
