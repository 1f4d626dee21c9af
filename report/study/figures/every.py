"""Which figures a study has, in the order of its page."""

from collections.abc import Callable
from functools import partial

from report.data.frames import Study
from report.data.metrics import METRICS, OLDER_NLL
from report.render.drawing import Drawing
from report.render.panels import horizontal
from report.study.figures.costs import PRICES, QUALITIES, cost
from report.study.figures.diagram import diagram
from report.study.figures.effects import effects
from report.study.figures.forest import forest
from report.study.figures.quality import (
    against,
    bound_curve,
    level_map,
    loss_curves,
    rate_distortion,
)
from report.study.figures.throughput import throughput

Draw = Callable[[Study], Drawing | None]  # none where the records have no data for it
AGAINST = (
    *(METRICS["elbo_nats"], METRICS["nll_nats"], OLDER_NLL),
    *(METRICS["scoreboard_nll_nats"], METRICS["kl_excess_nats"]),
)
LEVEL_MAPS = (
    ("kl_nats", "KL per level", "nats per image"),
    ("gain_nats", "What levels t to T add", "nats per image"),
    ("active_units", "Active units per level", "units"),
)


def figures(study: Study) -> list[Draw]:
    """What draws each figure: any can be drawn in a process of its own."""
    across = horizontal(study)
    return [
        forest,
        diagram,
        loss_curves,
        *(partial(effects, factor=factor) for factor in study.varying if not factor.is_ordered),
        *(partial(against, metric=metric, x=x) for metric in AGAINST for x in across),
        rate_distortion,
        bound_curve,
        *(partial(level_map, metric=m, title=title, unit=unit) for m, title, unit in LEVEL_MAPS),
        *(partial(throughput, x=x) for x in across),
        *(partial(cost, metric=METRICS[m], price=price) for m in QUALITIES for price in PRICES),
    ]
