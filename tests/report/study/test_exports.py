"""What leaves the page for a paper or another program."""

import io

import pandas as pd
import pytest
from builders import study_of

from hvae.records.store import Store
from report.data.design import Design
from report.data.frames import Study
from report.render.drawing import image, no_wider_than
from report.study.exports import csv_files, paper_table
from report.study.figures.every import figures


def test_the_table_of_a_paper_is_narrow_and_takes_the_metrics_that_are_named(
    full_study: Study,
) -> None:
    factors = ("depth", "loss", "latent size")
    assert paper_table(full_study).headings == (*factors, "NLL (nats)", "scoreboard NLL (nats)")
    chosen = paper_table(full_study, ["psnr_db", "rate_nats"])
    assert chosen.headings == (*factors, "PSNR (dB)", "rate (nats)")
    assert chosen.caption.startswith("Does <depth> help? digits, 1,437 images")
    assert chosen.every_note[0] == "The same in every row: n 3."
    apart = "Bold: not distinguishable from the best of its likelihood and images"
    assert any(note.startswith(apart) for note in paper_table(full_study).every_note)
    images = paper_table(full_study, ["psnr_db"])
    assert not any(note.startswith(apart) for note in images.every_note)


def test_a_metric_that_no_run_has_is_refused(full_study: Study, store: Store) -> None:
    with pytest.raises(ValueError, match=r"^columns: 'nll' is not allowed; allowed: elbo_nats, "):
        paper_table(full_study, ["nll"])
    with pytest.raises(ValueError, match="allowed: none, for no run has finished"):
        paper_table(study_of(store, Design("none", "", ())), ["nll_nats"])


def test_every_frame_is_a_file_and_every_contrast_a_row(full_study: Study) -> None:
    frames = {name: pd.read_csv(io.BytesIO(text)) for name, text in csv_files(full_study).items()}
    assert {name: len(frame) for name, frame in frames.items() if name != "cells.csv"} == {
        "runs.csv": len(full_study.runs)
        * (len(full_study.runs.columns) - len(full_study.status.columns) + 2),
        "contrasts.csv": sum(
            len(family)
            for families in (
                full_study.contrasts.effects,
                full_study.contrasts.interactions,
                full_study.contrasts.by_cell,
                full_study.contrasts.against_zero,
            )
            for family in families.values()
        ),
        "levels.csv": len(full_study.levels),
        "curves.csv": len(full_study.curve),
        "history.csv": len(full_study.epochs),
    }
    first = full_study.contrasts.effects["depth"][0]
    row = frames["contrasts.csv"].iloc[0]
    assert (row["kind"], row["contrast"]) == ("main effect", str(first.steps[0]))
    assert row["difference"] == pytest.approx(first.estimate.mean)
    assert row["upper"] - row["lower"] == pytest.approx(2 * first.estimate.half_width)
    assert row["unit"] == "nats"


@pytest.mark.usefixtures("no_layout")
@pytest.mark.parametrize("inches", [3.4, 6.9])
def test_figures_are_no_wider_than_they_may_be(inches: float, full_study: Study) -> None:
    for draw in figures(full_study)[2:6]:
        with no_wider_than(inches):
            drawing = draw(full_study)
        assert drawing.figure.get_figwidth() <= inches


def test_a_pdf_holds_no_font_that_publishers_refuse(full_study: Study) -> None:
    drawing = figures(full_study)[0](full_study)
    content = image(drawing, "pdf")
    assert b"/Type3" not in content
    assert b"/CIDFontType2" in content
