"""The pictures as files: valid, small, without global state; and the curves against scikit-learn's."""

import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ml_platform.ml import figures
from ml_platform.ml.report import Interval

Array = NDArray[Any]
Curve = Callable[[Array, dict[str, Array]], bytes]

CURVES = [figures.roc_curve, figures.precision_recall_curve, figures.calibration_curve]


def assert_small_png(picture: bytes) -> None:
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(picture) < 25_000
    image = Image.open(BytesIO(picture))
    assert image.size == (495, 396)
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


@pytest.fixture(scope="module")
def rows() -> tuple[Array, dict[str, Array]]:
    rng = np.random.default_rng(0)
    y = (rng.random(20_000) < 0.02).astype(int)
    score = 1 / (1 + np.exp(4 - 2 * y - rng.normal(size=20_000)))
    return y, {"model": score, "champion": score.round(1), "linear": rng.random(20_000), "prior": np.full(20_000, 0.02)}


@pytest.mark.parametrize("curve", CURVES)
def test_curves_of_a_model_and_its_baselines(curve: Curve, rows: tuple[Array, dict[str, Array]]) -> None:
    assert_small_png(curve(*rows))


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_curves_of_one_score_for_all_rows(curve: Curve, score: float) -> None:
    assert_small_png(curve(np.array([0, 1, 1]), {"prior": np.full(3, score)}))


@pytest.mark.parametrize("curve", CURVES)
def test_curves_need_both_classes(curve: Curve) -> None:
    with pytest.raises(ValueError, match="needs both classes, 0 of 3 rows are positive; hold out more rows"):
        curve(np.zeros(3), {"model": np.array([0.1, 0.2, 0.3])})


@pytest.mark.parametrize("classes", [2, 5, 6, 40])
def test_confusion_matrix(classes: int) -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, classes, 200_000)
    predicted = np.where(rng.random(200_000) < 0.7, y, rng.integers(0, classes, 200_000))
    labels = [f"between ${i} and ${i + 1}" for i in range(classes)]
    assert_small_png(figures.confusion_matrix(y, predicted, labels))


def test_confusion_matrix_of_a_class_without_rows() -> None:
    assert_small_png(figures.confusion_matrix(np.array([0, 0]), np.array([True, False]), ["no", "yes"]))


@pytest.mark.parametrize("n", [1, 50, 20_000])
def test_residuals(n: int) -> None:
    rng = np.random.default_rng(2)
    y = rng.gamma(1, 30, n)
    assert_small_png(figures.residuals(y, y + rng.normal(size=n), target="a rather long name of a price ($ per night)"))


def test_residuals_of_a_target_that_does_not_vary() -> None:
    assert_small_png(figures.residuals(np.full(9, 3), np.full(9, 3), target="rain (mm)"))


@pytest.mark.parametrize("features", [1, 6, 20, 300])
def test_importance(features: int) -> None:
    points = np.random.default_rng(4).normal(size=features)
    importance = {
        f"a rather long name of feature ${place} in $": Interval(point, point - 0.1, point + 0.2, 0.95)
        for place, point in enumerate(points)
    }
    assert_small_png(figures.importance(importance))


def test_the_twenty_most_important_features_are_shown_from_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "_png", lambda figure: drawn.append(figure) or b"")
    figures.importance({f"f{place}": Interval(place / 10, 0, 3, 0.95) for place in range(30)})
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"f{place}" for place in range(29, 9, -1)]
    assert axes.yaxis_inverted()
    assert axes.get_title() == "Importance of 20 of 30 features"


def test_curve_points_equal_scikit_learn() -> None:
    from sklearn.metrics import roc_curve

    rng = np.random.default_rng(3)
    y, score = rng.integers(0, 2, 200), rng.random(200).round(2)
    hits, false_alarms = figures._cumulated(y, score)
    expected_x, expected_y, _ = roc_curve(y, score, drop_intermediate=False)
    np.testing.assert_allclose(false_alarms / false_alarms[-1], expected_x)
    np.testing.assert_allclose(hits / hits[-1], expected_y)


def test_thinned_curves_keep_their_ends_and_their_course() -> None:
    x = np.linspace(0, 1, 50_000)
    kept_x, kept_height = figures._thinned(x, x**3)
    assert len(kept_x) <= 300
    assert (kept_x[0], kept_x[-1]) == (0, 1)
    np.testing.assert_allclose(np.interp(x, kept_x, kept_height), x**3, atol=1e-3)


def test_pictures_need_no_pyplot_and_import_no_matplotlib_before_one_is_drawn() -> None:
    code = """if True:
        import sys
        import numpy as np
        from ml_platform.ml import figures
        before = {"matplotlib", "PIL", "sklearn"} & set(sys.modules)
        y, score = np.array([0, 1]), np.array([0.2, 0.7])
        figures.roc_curve(y, {"model": score})
        figures.confusion_matrix(y, y, ["no", "yes"])
        figures.residuals(y, score, target="x")
        print(before, "matplotlib.pyplot" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set() False"
