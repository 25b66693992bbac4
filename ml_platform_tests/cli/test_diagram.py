"""The picture of a pipeline: that of the README is up to date, and no edge of any graph runs through a node."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ml_platform.cli import app
from ml_platform.cli.diagram import graph_of
from ml_platform.cli.drawing import Graph, Node, mermaid, svg
from ml_platform.cli.project import Project
from ml_platform.definitions import defs

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "pipeline.svg"
SPACE = "{http://www.w3.org/2000/svg}"


def shipped() -> Graph:
    return graph_of(Project(ROOT, defs()), "card_fraud")


def test_the_picture_of_the_readme_is_up_to_date() -> None:
    command = "ml-platform diagram card_fraud --format svg > docs/images/pipeline.svg"
    assert PICTURE.read_text(encoding="utf-8") == svg(shipped()) + "\n", f"run {command}"


def test_the_graph_has_every_asset_with_its_parents_checks_and_step() -> None:
    graph = shipped()
    assert graph.nodes["source"] == Node("python", [])
    assert graph.nodes["features"] == Node("each day · 1 check", ["validated_data"], "data")
    assert graph.nodes["promotion"] == Node("each week · 5 checks", ["evaluation", "features", "model"], "model")
    assert graph.nodes["ledger"] == Node("", ["promotion"])
    text = mermaid(graph)
    assert "    promotion --> ledger\n" in text
    assert (
        '    subgraph step_predictions [predictions]\n        predictions["predictions<br/>each day · 1 check"]' in text
    )


def test_the_command_prints_either_and_needs_no_name_where_there_is_one_use_case(payments: Project) -> None:
    drawn = CliRunner().invoke(app, ["diagram", "--format", "svg"])
    assert drawn.exit_code == 0, drawn.output
    assert drawn.stdout == svg(graph_of(payments, "payments")) + "\n"
    assert CliRunner().invoke(app, ["diagram", "payments"]).stdout.startswith("flowchart LR\n")
    wrong = CliRunner().invoke(app, ["diagram", "payment"])
    assert wrong.exit_code == 2
    assert "there is no use case 'payment'; did you mean 'payments'?" in wrong.stderr


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Pipelines with up to twelve nodes, each with some of those before it as parents."""
    nodes: dict[str, Node] = {"source": Node("python", [])}
    for number in range(draw(st.integers(1, 11))):
        parents = draw(st.lists(st.sampled_from(sorted(nodes)), min_size=1, max_size=4, unique=True))
        nodes[f"n{number}"] = Node("", sorted(parents), draw(st.sampled_from([None, "data", "model"])))
    return Graph("any", nodes)


def edges(drawn: ElementTree.Element) -> Iterator[list[tuple[float, float]]]:
    """The corners of each edge."""
    for path in drawn.findall(f"{SPACE}path"):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.attrib["d"])]
        yield list(zip(numbers[::2], numbers[1::2], strict=True))


@given(graphs())
def test_each_node_stands_behind_its_parents_and_no_edge_runs_through_a_node(graph: Graph) -> None:
    text = svg(graph)
    assert text == svg(Graph(graph.title, dict(graph.nodes)))
    assert len(set(graph.places.values())) == len(graph.nodes)
    drawn = ElementTree.fromstring(text)  # noqa: S314 - our own
    boxes = [
        tuple(float(one.attrib[name]) for name in ("x", "y", "width", "height"))
        for one in drawn.findall(f"{SPACE}rect")
        if one.attrib.get("class", "").startswith("node")
    ]
    found = list(edges(drawn))
    assert len(boxes) == len(graph.nodes)
    assert len(found) == sum(len(node.parents) for node in graph.nodes.values())
    for name, node in graph.nodes.items():
        assert all(graph.places[parent][0] < graph.places[name][0] for parent in node.parents)
    for x, y, width, height in boxes:
        for (left, top), (right, bottom) in (segment for points in found for segment in pairwise(points)):
            assert (
                max(left, right) <= x
                or min(left, right) >= x + width
                or (max(top, bottom) <= y or min(top, bottom) >= y + height)
            )
