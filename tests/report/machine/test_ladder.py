"""The ladder's figure: a bar a rung, on a logarithmic axis."""

from typing import Any

import pytest
from matplotlib.container import BarContainer

from report.machine.ladder import caption, ladder


def rung(title: str, kind: str, rate: float) -> dict[str, Any]:
    def spread(value: float) -> dict[str, float]:
        return {"median": value, "lower_quartile": 0.9 * value, "upper_quartile": 1.2 * value}

    return {
        "title": title,
        "kind": kind,
        "model_steps_per_second": spread(rate),
        "ratio_to_documented": spread(rate / 50),
        "ratio_to_in_memory": spread(rate / 200),
        "fraction_of_cores": 0.97,
    }


@pytest.fixture
def document() -> dict[str, Any]:
    return {
        "machine": {"device": "cpu", "device_name": "Some CPU", "cores": 2, "torch": "2.11"},
        "data": "mnist",
        "batch_size": 64,
        "rounds": 7,
        "rungs": [
            rung("documented loop", "documented", 50.0),
            rung("in memory, eager", "in_memory", 200.0),
            rung("packed 10", "pack", 1000.0),
        ],
    }


def test_each_rung_is_a_bar_as_long_as_its_median_first_rung_on_top(
    document: dict[str, Any],
) -> None:
    (axes,) = ladder(document).axes
    (bars,) = [c for c in axes.containers if isinstance(c, BarContainer)]
    assert [bar.get_width() for bar in bars] == [50.0, 200.0, 1000.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "documented loop",
        "in memory, eager",
        "packed 10",
    ]
    assert axes.get_xscale() == "log"
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert bars[0].get_facecolor() != bars[2].get_facecolor()


def test_labels_are_the_ratios_and_stand_inside_the_axes(document: dict[str, Any]) -> None:
    figure = ladder(document)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["1× (0.25×)", "4× (1×)", "20× (5×)"]
    assert all(axes.bbox.x1 > text.get_window_extent().x1 for text in axes.texts)


def test_whiskers_end_at_the_quartiles(document: dict[str, Any]) -> None:
    (axes,) = ladder(document).axes
    (segments,) = [c.get_segments() for c in axes.collections]  # type: ignore[attr-defined]
    assert segments[2][:, 0] == pytest.approx([900.0, 1200.0])


def test_the_caption_names_machine_threads_and_share(document: dict[str, Any]) -> None:
    text = caption(document)
    for words in ("Some CPU with 2 cores", "one thread a process", "7 rounds", "at least 97%"):
        assert words in text
    document["machine"] |= {"device": "cuda", "device_name": "Some GPU"}
    assert "Some GPU, one thread" in caption(document)
