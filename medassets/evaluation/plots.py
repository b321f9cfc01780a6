"""Plots of evaluation reports as small PNG files.

What belongs here: drawing figures that were computed elsewhere. What does not: computing them, and pages
(``report``). matplotlib is imported where it draws, with the Agg canvas, and never through ``pyplot``: code
servers import this module, and threads share it.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that people with colour blindness tell apart (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def markdown_image(png: bytes, title: str) -> str:
    """A Markdown image that carries its own data, for Dagster metadata and cards."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"


def reliability_plot(
    probabilities: NDArray[np.floating],
    truth: NDArray[np.integer],
    *,
    title: str = "Reliability",
    bins: int = 10,
    n_label: str = "",
) -> bytes:
    """Observed accuracy over stated certainty of the leading condition, with the rows in each bin."""
    p = np.asarray(probabilities, dtype=np.float64)
    confidence, right = p.max(1), p.argmax(1) == np.asarray(truth)
    which = np.clip((confidence * bins).astype(int), 0, bins - 1)
    counts = np.bincount(which, minlength=bins)
    filled = counts > 0
    stated = np.bincount(which, confidence, bins)[filled] / counts[filled]
    observed = np.bincount(which, right, bins)[filled] / counts[filled]
    figure, axes = _canvas(title, "stated certainty", "observed accuracy")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--", label="perfect")
    axes.plot(stated, observed, marker="o", color=COLOURS[0], label=n_label or f"n={len(p)}")
    for x, y, n in zip(stated, observed, counts[filled], strict=True):
        axes.annotate(str(n), (x, y), textcoords="offset points", xytext=(4, -9), fontsize=7)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=8)
    return _png(figure)


def questions_plot(
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    published: Sequence[tuple[str, float, float]],
    *,
    title: str = "Accuracy over questions",
) -> bytes:
    """Accuracy over the mean number of questions, beside published points.

    Args:
        curves: name to points with ``mean_questions``, ``top1``, ``low`` and ``high``.
        published: name, mean questions and accuracy (``evaluation.inquiry.PUBLISHED``).
        title: of the plot.
    """
    figure, axes = _canvas(title, "mean questions after the initial complaint", "top-1 accuracy")
    for colour, (name, points) in zip(COLOURS, curves.items(), strict=False):
        x = [point["mean_questions"] for point in points]
        axes.plot(x, [point["top1"] for point in points], marker="o", markersize=3, color=colour, label=name)
        axes.fill_between(
            x, [q["low"] for q in points], [q["high"] for q in points], color=colour, alpha=0.15
        )
    for marker, (name, questions, accuracy) in zip("s^Dv", published, strict=False):
        axes.plot([questions], [accuracy], marker=marker, color="black", linestyle="none", label=name)
    axes.set(xlim=(0, None), ylim=(0.9, 1.0))
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return _png(figure)


def robustness_plot(rows: Sequence[Mapping[str, Any]], *, metric: str = "top1") -> bytes:
    """A figure of every model over the share of unknown answers (left) and of wrong ones (right).

    Args:
        rows: of ``evaluation/robustness_report``.
        metric: figure drawn.
    """
    figure = _figure(8.0, 3.4)
    panes = figure.subplots(1, 2, sharey=True)
    models = list(dict.fromkeys(row["model"] for row in rows))
    for axes, varied, fixed in zip(
        panes, ("unknown_rate", "wrong_rate"), ("wrong_rate", "unknown_rate"), strict=True
    ):
        for colour, model in zip(COLOURS, models, strict=False):
            chosen = [r for r in rows if r["model"] == model and r["metric"] == metric and r[fixed] == 0]
            chosen.sort(key=lambda row: row[varied])
            axes.plot([r[varied] for r in chosen], [r["value"] for r in chosen], marker="o", markersize=3,
                      color=colour, label=model)  # fmt: skip
        axes.set_xlabel(f"share of answers {varied.removesuffix('_rate')}")
        axes.grid(alpha=0.3)
    panes[0].set_ylabel(metric)
    panes[1].legend(frameon=False, fontsize=8)
    return _png(figure)


def confusion_bars(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], names: Sequence[str], *, most: int = 10
) -> bytes:
    """The most frequent confusions, as horizontal bars: condition, and what it was taken for."""
    wrong = Counter((int(t), int(p)) for t, p in zip(truth, predicted, strict=True) if t != p)
    top = wrong.most_common(most)[::-1]
    figure, axes = _canvas(
        f"Most frequent confusions (n={len(truth)})", "patients", "", height=0.3 * len(top) + 1.4
    )
    axes.barh([f"{names[t]} → {names[p]}" for (t, p), _ in top], [n for _, n in top], color=COLOURS[0])
    axes.tick_params(axis="y", labelsize=7)
    if not top:
        axes.text(0.5, 0.5, "none", ha="center", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
    return _png(figure)


def rank_curves(
    curves: Mapping[str, Mapping[float, float]], *, title: str, x_label: str, y_label: str
) -> bytes:
    """One line a method over ordered points, for example recall over ranks or top-10 over shots.

    Args:
        curves: method to {x: y}.
        title, x_label, y_label: of the plot.
    """
    figure, axes = _canvas(title, x_label, y_label)
    for colour, (name, points) in zip(COLOURS, curves.items(), strict=False):
        xs = sorted(points)
        axes.plot(xs, [points[x] for x in xs], marker="o", markersize=3, color=colour, label=name)
    axes.legend(frameon=False, fontsize=8)
    return _png(figure)


def interval_bars(rows: Sequence[Mapping[str, Any]], *, title: str) -> bytes:
    """One figure of several groups with its interval, for example accuracy by age group.

    Args:
        rows: with ``group``, ``value``, ``low``, ``high`` and ``n``; rows without value are left out.
        title: of the plot.
    """
    known = [row for row in rows if row["value"] is not None][::-1]
    figure, axes = _canvas(title, "", "", height=0.3 * len(known) + 1.2)
    for y, row in enumerate(known):
        axes.plot([row["low"], row["high"]], [y, y], color=COLOURS[0], linewidth=2, alpha=0.5)
        axes.plot([row["value"]], [y], marker="o", color=COLOURS[0])
    axes.set_yticks(range(len(known)), [f"{row['group']} (n={row['n']})" for row in known], fontsize=8)
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _canvas(title: str, x_label: str, y_label: str, *, height: float = 3.6) -> tuple[Figure, Axes]:
    figure = _figure(5.2, height)
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.3)
    return figure, axes


def _png(figure: Figure) -> bytes:
    """Without the software's version in the file, so that the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
    return buffer.getvalue()
