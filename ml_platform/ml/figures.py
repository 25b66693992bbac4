"""The pictures of an evaluation: small PNG files on white, legible on a light and on a dark page."""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ml_platform.ml.metrics import METRICS, Floats
from ml_platform.ml.report import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

_GREY: Final = "#8A8A8A"
# Okabe and Ito's colours, which colour-blind readers tell apart; the line styles tell them apart in grey print.
_STYLES: Final = (("#0072B2", "-"), ("#D55E00", "--"), ("#444444", ":"), ("#009E73", "-."))
_CURVE_POINTS: Final = 300
_CLASSES_WITH_TEXT: Final = 5
_CLASSES_WITH_TICK: Final = 20
_DARK_SHARE: Final = 0.5
_NAME_LENGTH: Final = 14
_ROW_LENGTH: Final = 36
_FEATURES: Final = 20
_FEATURE_LENGTH: Final = 24


def roc_curve(y: NDArray[Any], scores_by_model: Mapping[str, NDArray[Any]]) -> bytes:
    """The ROC curve and its area for each model on the same rows.

    `y` (n,) holds 0 or 1, `scores_by_model` the scores (n,) of the positive class, the model in question first.
    Raises ValueError where y lacks positive or negative rows.
    """
    figure, axes = _figure(f"ROC curve, {_rows(y)}")
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8)
    for name, score, line in _styled(scores_by_model):
        hits, false_alarms = _cumulated(y, score)
        axes.plot(
            *_thinned(false_alarms / false_alarms[-1], hits / hits[-1]),
            label=f"{name} (AUC {_value('roc_auc', y, score):.3f})",
            **line,
        )
    axes.set(xlabel="False positives, share of negative rows", ylabel="True positives, share of positive rows")
    return _framed(figure, axes, 0, 1)


def precision_recall_curve(y: NDArray[Any], scores_by_model: Mapping[str, NDArray[Any]]) -> bytes:
    """The precision-recall curve, in steps, and its average precision for each model; arguments as in `roc_curve`."""
    figure, axes = _figure(f"Precision and recall, {_rows(y)}")
    for name, score, line in _styled(scores_by_model):
        hits, false_alarms = _cumulated(y, score)
        precision = hits[1:] / (hits + false_alarms)[1:]
        axes.plot(
            *_thinned(hits / hits[-1], np.append(precision[0], precision)),
            label=f"{name} (AP {_value('average_precision', y, score):.3f})",
            drawstyle="steps-pre",
            **line,
        )
    axes.set(xlabel="Recall, share of positive rows found", ylabel="Precision, positive share of rows found")
    return _framed(figure, axes, 0, 1)


def calibration_curve(
    y: NDArray[Any], probabilities_by_model: Mapping[str, NDArray[Any]], *, of: str = "positive rows", bins: int = 10
) -> bytes:
    """The share of positive rows by predicted probability, in quantile bins, for each model; `of` says what they are.

    Rows of equal probability share a bin, so there can be fewer bins, of unequal size. Arguments as in `roc_curve`.
    """
    figure, axes = _figure(f"Calibration, {_rows(y)}")
    limit = 0.0
    for name, probability, line in _styled(probabilities_by_model):
        edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1]))
        _, bin_of_row = np.unique(np.searchsorted(edges, probability), return_inverse=True)
        rows = np.bincount(bin_of_row)
        predicted, actual = (np.bincount(bin_of_row, weights=column) / rows for column in (probability, y))
        label = f"{name} (Brier {_value('brier_score', y, probability):.3g})"
        axes.plot(predicted, actual, label=label, **line)
        axes.scatter(predicted, actual, s=150 * rows / len(y), color=line["color"], zorder=4, clip_on=False)
        limit = max(limit, predicted.max(), actual.max())
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, label="perfect (area of a dot: rows)")
    axes.set(xlabel="Mean predicted probability of the bin", ylabel=f"Share of {of} in the bin")
    return _framed(figure, axes, 0, 1.05 * limit)


def confusion_matrix(y: NDArray[Any], predicted: NDArray[Any], labels: Sequence[str]) -> bytes:
    """How many rows of each actual class were predicted as which, coloured by the share of the actual class.

    `y` and `predicted` (n,) hold positions in `labels`.
    """
    classes = len(labels)
    cells = np.bincount(y.astype(np.intp) * classes + predicted.astype(np.intp), minlength=classes**2)
    counts = cells.reshape(classes, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _figure(f"Confusion matrix, {len(y):,} rows")
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    if classes <= _CLASSES_WITH_TEXT:
        for (row, column), share in np.ndenumerate(shares):
            color = "white" if share > _DARK_SHARE else "black"
            text = f"{counts[row, column]:,}\n{share:.1%}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=10 - classes / 2)
    else:
        _scale(figure, axes, image, "Share of the actual class", "{x:.0%}")
    ticks = range(0, classes, -(-classes // _CLASSES_WITH_TICK))
    shown = [_plain(labels[tick]) for tick in ticks]
    axes.set_xticks(ticks, shown, rotation=90 if len(" ".join(shown)) > _ROW_LENGTH else 0)
    axes.set_yticks(ticks, shown)
    axes.set(xlabel="Predicted class", ylabel="Actual class (each row 100%)")
    return _png(figure)


def residuals(y: NDArray[Any], prediction: NDArray[Any], *, target: str) -> bytes:
    """The predicted against the actual target, coloured by the number of rows, with the mean errors.

    `y` and `prediction` (n,) are in the target's unit; `target` names it and its unit, such as "delay (minutes)".
    """
    low, high = float(min(y.min(), prediction.min())), float(max(y.max(), prediction.max()))
    margin = 0.03 * (high - low) or 1.0
    low, high = low - margin, high + margin
    figure, axes = _figure(f"Predicted against actual, {len(y):,} rows")
    cells = axes.hexbin(y, prediction, gridsize=45, extent=(low, high, low, high), bins="log", mincnt=1, linewidths=0)
    cells.set_clim(1, max(10, np.max(np.asarray(cells.get_array()))))
    _scale(figure, axes, cells, "Rows", "{x:,.0f}")
    errors = (
        f"{short} {METRICS['regression'][name].values(y, prediction)[0]:.4g}"
        for short, name in (("MAE", "mean_absolute_error"), ("RMSE", "root_mean_squared_error"))
    )
    axes.plot([low, high], [low, high], color=_GREY, linewidth=0.8, label=f"predicted = actual ({', '.join(errors)})")
    axes.set(xlabel=_plain(f"Actual {target}", _ROW_LENGTH), ylabel=_plain(f"Predicted {target}", _ROW_LENGTH))
    return _framed(figure, axes, low, high)


def importance(importance: Mapping[str, Interval]) -> bytes:
    """The importance of the features with its intervals, the most important on top, at most twenty of them."""
    shown = sorted(importance.items(), key=lambda item: -item[1].point)[:_FEATURES]
    confidence = shown[0][1].confidence
    count = f"{len(shown)} of {len(importance)}" if len(shown) < len(importance) else f"{len(shown)}"
    figure, axes = _figure(f"Importance of {count} {'feature' if len(importance) == 1 else 'features'}")
    places = range(len(shown))
    axes.axvline(0, color=_GREY, linewidth=0.8)
    axes.barh(places, [interval.point for _, interval in shown], height=0.7, color=_STYLES[0][0])
    axes.hlines(
        places,
        [interval.low for _, interval in shown],
        [interval.high for _, interval in shown],
        color=_STYLES[2][0],
        linewidth=1.4,
        zorder=3,
    )
    axes.set_yticks(places, [_plain(name, _FEATURE_LENGTH) for name, _ in shown], fontsize=7)
    axes.invert_yaxis()
    axes.set(xlabel=f"Growth of the loss when shuffled, {confidence:.0%} interval")
    return _png(figure)


def _rows(y: NDArray[Any]) -> str:
    """How many rows the picture shows and which share is positive; raises ValueError where one class is absent."""
    positive = np.count_nonzero(y)
    if positive in (0, len(y)):
        raise ValueError(f"a curve needs both classes, {positive} of {len(y)} rows are positive; hold out more rows.")
    return f"{len(y):,} rows, {100 * positive / len(y):.3g}% positive"


def _plain(text: str, length: int = _NAME_LENGTH) -> str:
    """The text cut to a length, its dollars escaped because matplotlib reads formulas between them."""
    return (text if len(text) <= length else f"{text[: length - 1]}…").replace("$", r"\$")


def _value(metric: str, y: NDArray[Any], score: NDArray[Any]) -> float:
    return float(METRICS["binary_classification"][metric].values(y, score)[0])


def _styled(scores_by_model: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[Any], dict[str, Any]]]:
    """Each model's name, scores and line style, the first model above the others and thicker."""
    for place, ((name, score), (color, style)) in enumerate(zip(scores_by_model.items(), cycle(_STYLES), strict=False)):
        yield name, score, {"color": color, "linestyle": style, "linewidth": 1.4 if place else 2, "zorder": 4 - place}


def _cumulated(y: NDArray[Any], score: NDArray[Any]) -> tuple[Floats, Floats]:
    """The positive and the negative rows scored at or above each distinct score, falling, after a leading 0."""
    order = np.argsort(-score)
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    hits = np.cumsum(y[order], dtype=np.float64)[ends]
    return np.append(0, hits), np.append(0, ends + 1 - hits)


def _thinned(x: Floats, height: Floats) -> tuple[Floats, Floats]:
    """Points of the curve at even distances along it, few enough to draw."""
    length = np.append(0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(height))))
    kept = np.unique(np.searchsorted(length, np.linspace(0, length[-1], _CURVE_POINTS)))
    return x[kept], height[kept]


def _figure(title: str) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 3.6), dpi=110, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
    return figure, axes


def _scale(figure: "Figure", axes: "Axes", colored: "ScalarMappable", label: str, numbers: str) -> None:
    scale = figure.colorbar(colored, ax=axes, format=numbers)
    scale.set_label(label, size=9)
    scale.ax.tick_params(labelsize=8)


def _framed(figure: "Figure", axes: "Axes", low: float, high: float) -> bytes:
    """The picture with both axes from `low` to `high` and the legend below, where it hides nothing."""
    margin = 0.02 * (high - low)
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return _png(figure)


def _png(figure: "Figure") -> bytes:
    from PIL import Image

    full, small = BytesIO(), BytesIO()
    figure.savefig(full, format="png")
    # 64 colours take a third of the bytes of full colour.
    Image.open(full).convert("RGB").quantize(64).save(small, format="PNG", optimize=True)
    return small.getvalue()
