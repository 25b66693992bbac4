"""The page about a model as a browser reads it: whole, closed, escaped, and every section with its origin."""

from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder

import polars as pl
import pytest

from ml_platform.ml.model_card import GateVerdict, ModelCard, Origin, render, render_comparison
from ml_platform.ml.report import Interval, Report, Slice

VOID = {"meta", "img"}
STAGES = ("features", "model", "evaluation", "promotion")
ATTACK = "\"'><script>alert(1)</script>"
PNG = b"\x89PNG one"


class Page(HTMLParser):
    """The tree of a page; what is not closed in the right order fails."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.builder, self.open = TreeBuilder(), list[str]()
        self.feed(html)
        self.close()
        assert self.open == []
        self.root = self.builder.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.builder.end(tag)
        else:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.builder.end(tag)

    def handle_data(self, data: str) -> None:
        self.builder.data(data)

    def section(self, heading: str) -> Element:
        return next(one for one in self.root.iter("section") if heading_of(one) == heading)

    def rows(self, heading: str) -> dict[str, list[str]]:
        """The text of the cells of each row of a section by the row's heading."""
        rows = self.section(heading).findall(".//tbody/tr")
        return {text(row.find("th")): [text(cell) for cell in row.findall("td")] for row in rows}


def text(element: Element | None) -> str:
    assert element is not None
    return " ".join("".join(element.itertext()).split())


def heading_of(section: Element) -> str:
    return (section.findtext("h2") or "").strip()


def interval(point: float, off: float = 0.01) -> Interval:
    return Interval(point, point - off, point + off, 0.95)


REPORT = Report(
    run_id="9f3c",
    trained_on="january",
    held_out="february",
    metrics={"roc_auc": interval(0.8125), "log_loss": interval(0.3377)},
    baselines={"linear": {"roc_auc": 0.7411, "log_loss": 0.4242}, "prior": {"roc_auc": 0.5}},
    figures={"roc_curve": PNG, "importance": b"two"},
    scores=pl.DataFrame({"id": range(1234)}),
    threshold=0.31,
    slices=[
        Slice("city", "mons", 700, {"roc_auc": interval(0.9), "log_loss": interval(0.5)}),
        Slice("city", "ghent", 1300, {"roc_auc": interval(0.6), "log_loss": interval(0.2)}),
        Slice("hour", "0 to 6", 120, {"roc_auc": interval(0.7)}),
    ],
    importance={"hour": interval(-0.0012), "amount": interval(0.2)},
    findings={"increases_with_amount": "3 of 1,234 rows fall.", "one_row_ms": None},
)


def card(version: int = 1, **changes: Any) -> ModelCard:
    lineage = [
        Origin(stage, f"tiny/{stage}", "2024-01-08", f"{version}{stage}", f"run {version}", "http://ui/runs/1")
        for stage in STAGES
    ]
    gates = [
        GateVerdict("roc_auc_at_least", "roc_auc at least 0.8.", passed=False, reason="it is not surely so."),
        GateVerdict("log_loss_at_most", "log_loss at most 0.4.", passed=True, reason=None),
    ]
    facts = {"estimator": "Ridge", "seed": "42"}
    made = ModelCard(
        f"tiny {version}", "What is told.", "2024-01-08", facts, REPORT, gates, "Kept: it is not sure.", lineage
    )
    return replace(made, **changes)


def reported(version: int = 1, **changes: Any) -> ModelCard:
    return card(version, report=replace(REPORT, **changes))


OTHER = replace(reported(2, metrics={"roc_auc": interval(0.8321)}), facts={"estimator": "Lasso", "seed": "42"})
PAGES = {"one": render(card()), "two": render_comparison(card(), OTHER, {"roc_auc": interval(0.0196)})}


@pytest.fixture(params=PAGES)
def html(request: pytest.FixtureRequest) -> str:
    return PAGES[request.param]


def addresses(page: Page) -> Iterator[str]:
    for element in page.root.iter():
        yield from (value for name, value in element.attrib.items() if name in {"src", "href", "srcset", "action"})


def test_a_page_is_whole_and_needs_nothing_from_elsewhere(html: str) -> None:
    assert html.startswith("<!doctype html>")
    page = Page(html)
    assert {one.partition(":")[0].partition("-")[0] for one in addresses(page)} == {"#origin", "data", "http"}
    assert {one for one in addresses(page) if one.startswith("http")} == {"http://ui/runs/1"}
    assert page.root.find(".//script") is None
    assert not any(word in text(page.root.find(".//style")) for word in ("url(", "@import", "http"))


def test_every_section_leads_to_the_materializations_it_was_read_from() -> None:
    page = Page(PAGES["two"])
    versions = {row.get("id"): row.findtext(".//td[@class='version']/code") for row in page.root.iter("tr")}

    def origins(element: Element | None) -> list[str | None]:
        assert element is not None
        return [versions[link.attrib["href"].removeprefix("#")] for link in element.findall("sup/a")]

    evaluations, promotions = ["1evaluation", "2evaluation"], ["1promotion", "2promotion"]
    assert {heading_of(one): origins(one.find("h2")) for one in page.root.iter("section")} == {
        "Gates": promotions,
        "Metrics": evaluations,
        "Slices": evaluations,
        "Importance of features": evaluations,
        "Behaviour, latency and shift of importance": evaluations,
        "Figures": evaluations,
        "Model": ["1model", "2model"],
        "Rows": ["1features", "1evaluation", "2features", "2evaluation"],
        "Lineage": [],
    }
    assert [origins(one) for one in page.root.findall(".//p[@class='decision']")] == [[one] for one in promotions]


def test_features_made_in_several_runs_have_several_origins() -> None:
    one = card()
    page = Page(render(replace(one, lineage=[*one.lineage, replace(one.lineage[0], partition="2024-01-09")])))
    assert [text(link) for link in page.section("Rows").findall("h2/sup/a")] == ["1", "3", "5"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_number_without_an_origin_is_not_shown(stage: str) -> None:
    lineage = [origin for origin in card().lineage if origin.name != stage]
    with pytest.raises(ValueError, match=rf"the card of tiny 2 has no origin '{stage}'; add it to its lineage\."):
        render_comparison(card(), card(2, lineage=lineage), {})


def test_metrics_stand_with_intervals_next_to_the_baselines() -> None:
    page = Page(PAGES["one"])
    assert page.rows("Metrics") == {
        "roc_auc": ["0.8125 0.8025 to 0.8225", "0.7411", "0.5000"],
        "log_loss lower is better": ["0.3377 0.3277 to 0.3477", "0.4242", "none"],
    }
    assert "tiny 1 takes a row as positive from a score of 0.31 on." in text(page.section("Metrics"))


def test_gates_and_findings_are_told_in_words() -> None:
    page = Page(PAGES["one"])
    assert page.rows("Gates") == {
        "roc_auc_at_least": ["failed roc_auc at least 0.8. it is not surely so."],
        "log_loss_at_most": ["passed log_loss at most 0.4."],
    }
    assert page.rows("Behaviour, latency and shift of importance") == {
        "increases_with_amount": ["broken 3 of 1,234 rows fall."],
        "one_row_ms": ["kept"],
    }


def test_without_gates_the_page_says_so() -> None:
    assert "There are no gates." in text(Page(render(card(gates=[]))).section("Gates"))


def test_slices_stand_by_metric_the_worst_first() -> None:
    tables = Page(PAGES["one"]).section("Slices").findall("details")
    assert {text(one.find("summary")): [text(row) for row in one.findall(".//tbody/tr")] for one in tables} == {
        "roc_auc": [
            "city: ghent 1,300 0.6000 0.5900 to 0.6100",
            "hour: 0 to 6 120 0.7000 0.6900 to 0.7100",
            "city: mons 700 0.9000 0.8900 to 0.9100",
        ],
        "log_loss lower is better": [
            "city: mons 700 0.5000 0.4900 to 0.5100",
            "city: ghent 1,300 0.2000 0.1900 to 0.2100",
        ],
    }


def test_slices_stand_on_one_scale_with_the_metric_on_all_rows() -> None:
    table = Page(PAGES["one"]).section("Slices").find("details")
    assert table is not None
    marks = {kind: [one.get("style") for one in table.findall(f".//span[@class='{kind}']")] for kind in ("line", "dot")}
    # the scale goes from 0.59 to 0.91
    assert marks == {"line": ["left:69.5%"] * 3, "dot": ["left:3.1%", "left:34.4%", "left:96.9%"]}


def test_slices_of_a_metric_that_all_rows_together_lack_have_no_line() -> None:
    lines = ".//span[@class='line']"
    assert len(Page(PAGES["one"]).section("Slices").findall(lines)) == 5
    assert Page(render(reported(metrics={}))).section("Slices").findall(lines) == []


def test_importance_starts_with_the_feature_that_matters_most() -> None:
    assert list(Page(PAGES["one"]).rows("Importance of features")) == ["amount", "hour"]


def test_figures_are_part_of_the_page() -> None:
    images = Page(PAGES["one"]).section("Figures").findall(".//img")
    assert {one.attrib["alt"]: one.attrib["src"] for one in images} == {
        "roc_curve": "data:image/png;base64,iVBORyBvbmU=",
        "importance": "data:image/png;base64,dHdv",
    }


def test_what_a_use_case_does_not_look_at_has_no_section() -> None:
    page = Page(render(reported(metrics={}, baselines={}, figures={}, slices=[], importance={}, findings={})))
    assert [heading_of(one) for one in page.root.iter("section")] == ["Gates", "Metrics", "Model", "Rows", "Lineage"]


def test_whatever_a_name_or_a_value_holds_is_shown_as_text() -> None:
    report = replace(
        REPORT,
        trained_on=ATTACK,
        held_out=ATTACK,
        baselines={ATTACK: {}},
        figures={ATTACK: PNG},
        slices=[Slice(ATTACK, ATTACK, 120, {"roc_auc": interval(0.5)})],
        importance={ATTACK: interval(0.5)},
        findings={ATTACK: ATTACK},
    )
    lineage = [Origin(stage, ATTACK, ATTACK, ATTACK, ATTACK, ATTACK) for stage in STAGES]
    gates = [GateVerdict(ATTACK, ATTACK, passed=False, reason=ATTACK)]
    attack = ModelCard(ATTACK, ATTACK, ATTACK, {ATTACK: ATTACK}, report, gates, ATTACK, lineage)
    for page in (Page(render(attack)), Page(render_comparison(attack, attack, {}))):
        assert page.root.find(".//script") is None
        assert f"{ATTACK}: {ATTACK}" in {text(one) for one in page.section("Slices").iter("th")}
        assert all(one.attrib["alt"] == ATTACK for one in page.root.iter("img"))


def test_a_comparison_marks_exactly_what_differs() -> None:
    changed = replace(OTHER, cutoff="2024-01-15", facts=OTHER.facts | {"params.alpha": "1.0"})
    page = Page(render_comparison(card(), changed, {}))
    marked = [text(row.find("th")) for row in page.root.iter("tr") if row.get("class") == "differs"]
    assert marked == ["estimator differs", "params.alpha differs", "cutoff differs"]
    assert page.rows("Model") == {
        "estimator differs": ["Ridge", "Lasso"],
        "seed": ["42", "42"],
        "params.alpha differs": ["none", "1.0"],
    }


@pytest.mark.parametrize(
    ("metric", "difference", "verdict"),
    [
        ("roc_auc", interval(0.02), "better"),
        ("roc_auc", interval(-0.02), "worse"),
        ("roc_auc", interval(0.002), "not surely different"),
        ("log_loss", interval(0.02), "worse"),
        ("log_loss", interval(-0.02), "better"),
    ],
)
def test_a_difference_is_told_in_words(metric: str, difference: Interval, verdict: str) -> None:
    page = Page(render_comparison(card(), card(2), {metric: difference}))
    (cells,) = (cells for name, cells in page.rows("Metrics").items() if name.startswith(metric))
    assert cells[2].startswith(f"{difference.point:.4f} ")
    assert cells[3] == verdict
    assert [cells[2:] for name, cells in page.rows("Metrics").items() if not name.startswith(metric)] == [["none", ""]]


def test_two_versions_are_joined_by_name() -> None:
    slices = [Slice("city", "ghent", 1200, {"roc_auc": interval(0.65)})]
    gates = [GateVerdict("roc_auc_at_least", "roc_auc at least 0.7.", passed=True, reason=None)]
    other = replace(
        reported(
            2, metrics={"roc_auc": interval(0.83)}, slices=slices, importance={"amount": interval(0.3)}, figures={}
        ),
        gates=gates,
    )
    page = Page(render_comparison(card(), other, {}))
    assert page.rows("Gates")["roc_auc_at_least"][1] == "passed roc_auc at least 0.7."
    assert page.rows("Gates")["log_loss_at_most"][1] == "none"
    assert page.rows("Metrics")["log_loss lower is better"][1] == "none"
    assert [text(row) for row in page.section("Slices").findall("details[1]//tbody/tr")] == [
        "city: ghent 1,300 0.6000 0.5900 to 0.6100 1,200 0.6500 0.6400 to 0.6600",
        "hour: 0 to 6 120 0.7000 0.6900 to 0.7100 none",
        "city: mons 700 0.9000 0.8900 to 0.9100 none",
    ]
    assert page.rows("Importance of features")["hour"][2] == "none"
    assert [text(one) for one in page.section("Figures").findall(".//figure")] == [
        "tiny 1", "no roc_curve tiny 2", "tiny 1", "no importance tiny 2",
    ]  # fmt: skip


def test_a_comparison_on_different_rows_says_so() -> None:
    warning = "The rows held out are not the same: only a difference compares the two."
    assert warning not in text(Page(PAGES["two"]).section("Metrics"))
    page = Page(render_comparison(card(), reported(2, held_out="march"), {}))
    assert warning in text(page.section("Metrics"))
