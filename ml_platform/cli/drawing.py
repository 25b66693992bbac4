"""The picture of a pipeline, as Mermaid text and as SVG: the same bytes for the same graph."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

WIDTH, HEIGHT, GUTTER, GAP, MARGIN = 132, 46, 60, 40, 26
PADDING, LABEL, LANE, PORT, CORNER = 14, 18, 13, 8, 6
Point = tuple[float, float]
STYLE = """<style>
text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; text-anchor: middle }
.name { font-size: 13px; font-weight: 600; fill: #0f172a } .note { font-size: 11px; fill: #64748b }
.step { font-size: 11px; font-weight: 600; fill: #475569; text-anchor: start }
.node { fill: #ffffff; stroke: #64748b; stroke-width: 1.2 } .end { fill: #f1f5f9 }
.edge { fill: none; stroke: #334155; stroke-width: 1.4 } .far { stroke: #94a3b8; stroke-width: 1.2 }
</style>
<marker id="head" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0.5 L8 4 L0 7.5 z" fill="#334155"/></marker>
<marker id="far-head" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0.5 L8 4 L0 7.5 z" fill="#94a3b8"/></marker>"""
GROUPS = (("#eff6ff", "#bfdbfe"), ("#f5f3ff", "#ddd6fe"), ("#f0fdf4", "#bbf7d0"), ("#fffbeb", "#fde68a"))


@dataclass(frozen=True)
class Node:
    """An asset, or the source: what stands below its name, what it is made of, and the step that makes it."""

    note: str
    parents: Sequence[str]
    step: str | None = None


@dataclass(frozen=True)
class Graph:
    """The pipeline of a use case: its nodes by name, each after its parents."""

    title: str
    nodes: Mapping[str, Node]

    @cached_property
    def steps(self) -> dict[str, list[str]]:
        """The nodes of each step."""
        steps = dict.fromkeys(node.step for node in self.nodes.values() if node.step)
        return {step: [name for name, node in self.nodes.items() if node.step == step] for step in steps}

    @cached_property
    def places(self) -> dict[str, tuple[int, int]]:
        """Column and row of each node: the column by the longest path to it, the row by that from it."""
        columns: dict[str, int] = {}
        for name, node in self.nodes.items():
            columns[name] = max((columns[parent] + 1 for parent in node.parents), default=0)
        ahead = dict.fromkeys(self.nodes, 0)
        for name in reversed(list(self.nodes)):
            for parent in self.nodes[name].parents:
                ahead[parent] = max(ahead[parent], ahead[name] + 1)
        places: dict[str, tuple[int, int]] = {}
        for name in sorted(self.nodes, key=lambda one: (-ahead[one], self.nodes[one].step is None)):
            places[name] = columns[name], sum(column == columns[name] for column, _ in places.values())
        return places


def mermaid(graph: Graph) -> str:
    """The graph as a flowchart of Mermaid, which GitHub draws."""
    lines = ["flowchart LR"]

    def box(name: str) -> str:
        label = f'"{name}<br/>{graph.nodes[name].note}"'
        return f"{name}([{label}])" if graph.nodes[name].step is None else f"{name}[{label}]"

    for step, names in graph.steps.items():
        lines += [f"    subgraph step_{step} [{step}]", *(f"        {box(name)}" for name in names), "    end"]
    lines += [f"    {box(name)}" for name, node in graph.nodes.items() if node.step is None]
    lines += [f"    {parent} --> {name}" for name, node in graph.nodes.items() for parent in node.parents]
    return "\n".join(lines)


def svg(graph: Graph) -> str:
    """The graph as an SVG picture."""
    far = _far(graph)
    top = MARGIN + LANE * len(far) + LABEL + PADDING
    columns, rows = (max(place[axis] for place in graph.places.values()) + 1 for axis in (0, 1))
    width = 2 * MARGIN + columns * (WIDTH + GUTTER) - GUTTER
    height = top + rows * (HEIGHT + GAP) - GAP + PADDING + MARGIN
    corners = {
        name: (MARGIN + column * (WIDTH + GUTTER), top + row * (HEIGHT + GAP))
        for name, (column, row) in graph.places.items()
    }
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>{graph.title}</title>",
        STYLE,
        f'<rect width="{width}" height="{height}" rx="10" fill="#ffffff"/>',
        *_groups(graph, corners),
        *_far_edges(graph, corners, far, top - LABEL - PADDING),
        *_near_edges(graph, corners),
        *_nodes(graph, corners),
        "</svg>",
    ]
    return "\n".join(parts)


def _far(graph: Graph) -> list[tuple[str, list[str]]]:
    """The nodes with children beyond the next column, and these children; the shortest reach first."""
    column = {name: place[0] for name, place in graph.places.items()}
    found = {
        name: [
            child for child in graph.nodes if name in graph.nodes[child].parents and column[child] > column[name] + 1
        ]
        for name in graph.nodes
    }
    reach = {name: max(column[child] for child in far) - column[name] for name, far in found.items() if far}
    return [(name, found[name]) for name in sorted(reach, key=lambda one: reach[one])]


def _far_edges(
    graph: Graph, corners: Mapping[str, Point], far: Sequence[tuple[str, list[str]]], below: float
) -> Iterator[str]:
    """Edges over several columns: one lane above all nodes for each parent, up and down between the columns."""
    entering: dict[str, list[str]] = {}
    for parent, children in far:
        for child in children:
            entering.setdefault(child, []).append(parent)
    for number, (parent, children) in enumerate(far):
        x, y = corners[parent][0] + WIDTH, corners[parent][1] + HEIGHT / 2 - PORT
        up, lane = x + PORT + 4 * graph.places[parent][1], below - LANE * (number + 1) + PORT
        *others, furthest = sorted(children, key=lambda one: corners[one])
        for child in [*others, furthest]:
            # the upper the lane, the nearer to the child it comes down and the higher it enters: so none cross there
            place, all_of_them = len(entering[child]) - entering[child].index(parent), len(entering[child])
            down = corners[child][0] - PADDING + 2 - min(PORT, (GUTTER / 2 - PADDING) / all_of_them) * place
            into = corners[child][1] + 6 + min(6, HEIGHT / 3 / all_of_them) * (place - 1)
            begin = [(x, y), (up, y), (up, lane)] if child == furthest else [(down - 2 * CORNER, lane)]
            yield _edge([*begin, (down, lane), (down, into), (corners[child][0], into)], "far")


def _near_edges(graph: Graph, corners: Mapping[str, Point]) -> Iterator[str]:
    for name, node in graph.nodes.items():
        for parent in node.parents:
            if graph.places[name][0] == graph.places[parent][0] + 1:
                begin = (corners[parent][0] + WIDTH, corners[parent][1] + HEIGHT / 2 + PORT / 2)
                end = (corners[name][0], corners[name][1] + HEIGHT / 2 + PORT / 2)
                middle = begin[0] + GUTTER / 2 + 3 * graph.places[parent][1]
                yield _edge([begin, (middle, begin[1]), (middle, end[1]), end])


def _edge(points: Sequence[Point], kind: str = "") -> str:
    """A line with rounded corners and a head."""
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for (before, corner), (_, after) in pairwise(pairwise(points)):
        for place, towards in ((corner, before), (corner, after)):
            x, y = (one + max(-CORNER, min(CORNER, (two - one) / 2)) for one, two in zip(place, towards, strict=True))
            path += f" L{x:g} {y:g}" if towards is before else f" Q{corner[0]:g} {corner[1]:g} {x:g} {y:g}"
    head = f"{kind}-head" if kind else "head"
    style = f'class="edge {kind}"'.replace(' "', '"')
    return f'<path {style} d="{path} L{points[-1][0]:g} {points[-1][1]:g}" marker-end="url(#{head})"/>'


def _groups(graph: Graph, corners: Mapping[str, Point]) -> Iterator[str]:
    for number, (step, names) in enumerate(graph.steps.items()):
        fill, stroke = GROUPS[number % len(GROUPS)]
        left, top = (min(corners[name][axis] for name in names) for axis in (0, 1))
        right, bottom = (max(corners[name][axis] for name in names) for axis in (0, 1))
        size = f'width="{right - left + WIDTH + 2 * PADDING:g}" height="{bottom - top + HEIGHT + LABEL + PADDING:g}"'
        place = f'x="{left - PADDING:g}" y="{top - LABEL:g}"'
        yield f'<rect {place} {size} rx="8" fill="{fill}" stroke="{stroke}"/>'
        yield f'<text class="step" x="{left - PADDING + 8:g}" y="{top - 6:g}">{step}</text>'


def _nodes(graph: Graph, corners: Mapping[str, Point]) -> Iterator[str]:
    for name, node in graph.nodes.items():
        x, y = corners[name]
        shape = 'class="node" rx="6"' if node.step else f'class="node end" rx="{HEIGHT / 2:g}"'
        yield f'<rect {shape} x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}"/>'
        yield f'<text class="name" x="{x + WIDTH / 2:g}" y="{y + (20 if node.note else 28):g}">{name}</text>'
        yield f'<text class="note" x="{x + WIDTH / 2:g}" y="{y + 36:g}">{node.note}</text>'
