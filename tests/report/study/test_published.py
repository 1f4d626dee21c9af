"""Numbers of the literature beside what a variant came to."""

from dataclasses import replace
from typing import Any

from builders import design, filled, record

from ablations.grid import design as asked_by
from ablations.presets import PRESETS
from ablations.studies import narrow
from hvae.config import RunConfig
from hvae.records.store import Store
from report.data.design import Design, Published
from report.data.frames import Study
from report.study.published import distance_table, distances, nearest
from report.study.text.answer import answer

FOLLOWED = Published("ELBO", "nll_encoder_nats", 90.0, "Somebody 2016")


def asked(seeds: int = 3) -> Design:
    known = design({"depth": (1, 2)}, {"documented": {}, "ELBO": {"objective": "elbo"}}, seeds)
    return replace(known, published=(FOLLOWED,))


def measured(store: Store, seeds: int = 3) -> Study:
    """The encoders' bound is 95 at depth 1 and 89.5 at depth 2, the NLL a nat lower."""

    def metrics(run: RunConfig) -> dict[str, object]:
        bound = 95.0 if run.model.num_layers == 1 else 89.5
        own = {"nll_encoder_nats": bound, "nll_nats": bound - 1}
        return {"metrics": record(run).metrics | own}

    return filled(store, asked(seeds), metrics)


def test_every_cell_of_the_variant_stands_beside_it_and_no_other(store: Store) -> None:
    found = list(distances(measured(store)))
    assert [(d.settings["depth"], d.settings["variant"]) for d in found] == [
        (1, "ELBO"),
        (2, "ELBO"),
    ]
    assert [d.difference for d in found] == [5.0, -0.5]
    assert [d.nll for d in found] == [94.0, 88.5]


def test_the_table_says_once_what_every_row_would(store: Store) -> None:
    table = distance_table(measured(store, seeds=1))
    assert table.headings == ("depth", "variant", "measured", "off by", "NLL (nats)")
    assert [[entry.text for entry in row] for row in table.rows] == [
        ["1", "ELBO", "95.00", "5.00", "94.00"],
        ["2", "ELBO", "89.50", "−0.50", "88.50"],
    ]
    assert "published 90.00" in table.constants
    assert "source Somebody 2016" in table.constants


def test_the_answer_begins_with_the_nearest_cell_of_each_variant(store: Store) -> None:
    study = measured(store, seeds=1)
    said = (
        "At depth 2 the NLL by the encoders' draws, measured against published, in nats: "
        "ELBO: 89.50 against 90.00, 0.50 below (Somebody 2016)."
    )
    assert nearest(study) == said
    assert answer(study)[0] == said
    assert answer(study)[1].startswith("No finding: n = 1")


def test_the_nearest_is_so_on_either_side(store: Store) -> None:
    def metrics(run: RunConfig) -> dict[str, Any]:
        return {"metrics": {"nll_encoder_nats": {1: 92.0, 2: 80.0}[run.model.num_layers]}}

    assert "92.00 against 90.00, 2.00 above" in nearest(filled(store, asked(1), metrics))


def test_a_study_of_one_variant_stands_beside_it_too(store: Store) -> None:
    one = replace(design({"depth": (1, 2)}, {"ELBO": {}}, 1), published=(FOLLOWED,))
    assert [d.settings for d in distances(filled(store, one))] == [{"depth": 1}, {"depth": 2}]
    other = replace(one, variant_of=("documented",) * 2)
    assert not list(distances(filled(store, other)))


def test_where_nothing_was_published_nothing_is_said(full_study: Study) -> None:
    assert nearest(full_study) == ""
    assert not distance_table(full_study).rows


def test_the_numbers_of_the_preset_are_of_its_variants() -> None:
    study = PRESETS["literature"]
    named = [variant.name for variant in study.variants]
    assert all(known.variant in named for known in study.published)
    one = asked_by(narrow(study, variants=("1 level, VAE",)))
    assert one.published[0] == Published(
        "1 level, VAE", "nll_encoder_nats", 86.76, "Burda et al. 2016, table 1, 3,280 epochs"
    )
