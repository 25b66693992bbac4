"""The command `ml-platform reference`: the keys of a use case's YAML file as Markdown, read off its schema."""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import typer
from pydantic import TypeAdapter

from ml_platform.blocks import UNITS, Duration, Memory, Reference, Share, write_duration
from ml_platform.use_case import Gate, UseCase

Schema = Mapping[str, Any]
OWN_TYPES: Mapping[str, Any] = {"duration": Duration, "memory": Memory, "share": Share, "reference": Reference}
WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
TABLE_HEAD = "| key | value | default | meaning |\n|---|---|---|---|"
UNSAID = ({"type": "null"}, {"type": "integer"})  # among others: no value is the default, a whole number is a number
INTRODUCTION = f"""# The YAML file of a use case

`ml-platform reference` writes this page from the schema that reads the file. A use case is a file
`ml_platform/defs/<name>/defs.yaml` with `type: ml_platform.components.UseCase` and, below `attributes`, the keys of the
first table. A linked name is a block with keys of its own.

- A **duration** is a whole number and a unit ({", ".join(UNITS)}), such as `7 days`.
- A size of **memory** is a whole number and a unit (MB, GB: a million bytes, a billion), such as `4 GB`.
- A **share** is a percentage such as `2%`, or a number from 0 to 1.
- A **reference** names a Python object: `.features:build` in a module beside the file, or `package.module.Name`."""


def reference() -> None:
    """Print the reference of a use case's YAML file as Markdown."""
    typer.echo(page())


def page() -> str:
    """The reference as Markdown: every block in the order of the schema, then metrics and gates."""
    schema = UseCase.model_json_schema()
    blocks = {"attributes": schema, **dict(_blocks(schema, schema["$defs"], ""))}
    # a block that is used twice has its section where it is used first
    titles = {f"#/$defs/{block['title']}": title for title, block in reversed(blocks.items())}
    blocks = {title: block for title, block in blocks.items() if titles[f"#/$defs/{block['title']}"] == title}
    lines = [INTRODUCTION]
    for title, block in blocks.items():
        lines.append(f"\n## `{title}`\n\n{block['description']}\n\n{TABLE_HEAD}")
        for key, value in block["properties"].items():
            default = "**required**" if key in block.get("required", ()) else _default(value)
            # pydantic leaves out a key's description where that of its block says the same
            meaning = value.get("description") or blocks[titles[value["$ref"]]]["description"]
            cells = [f"`{key}`", _words(value, titles), default, meaning]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, *_metrics_and_gates()])


def _blocks(block: Schema, definitions: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """The blocks inside a block by title, depth first; one that is chosen by its `type` has it in the title."""
    for key, value in block["properties"].items():
        title = f"{path}{key}.<name>" if "additionalProperties" in value else f"{path}{key}"
        for name in re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(value)):
            chosen = definitions[name]["properties"].get("type", {}).get("const")
            yield f"{title}, type: {chosen}" if chosen else title, definitions[name]
            yield from _blocks(definitions[name], definitions, f"{title}.")


def _words(value: Schema, titles: Mapping[str, str]) -> str:
    """What a key takes, in words."""
    match value:
        case _ if own := _own_type(value):
            return own
        case {"$ref": block}:
            return f"[`{titles[block]}`](#{re.sub('[^a-z_ ]', '', titles[block]).replace(' ', '-')})"
        case {"const": choice}:
            return f"`{choice}`"
        case {"enum": choices}:
            return "one of " + ", ".join(f"`{choice}`" for choice in choices)
        case {"anyOf": choices} | {"oneOf": choices}:
            return " or ".join(_words(choice, titles) for choice in choices if choice not in UNSAID)
        case {"additionalProperties": named}:
            return "mapping of names to " + (_words(named, titles) if isinstance(named, dict) else "anything")
    words = f"list of {_words(value['items'], titles)}" if "items" in value else WORDS[value["type"]]
    limits = [f" {word} {value[limit]:g}" for limit, word in (("minimum", "from"), ("maximum", "to")) if limit in value]
    examples = [f", such as `{example}`" for example in value.get("examples", ())]
    return "".join([str(value.get("format", words)), *limits, *examples])


def _own_type(value: Schema) -> str | None:
    schemas = {name: TypeAdapter(declared).json_schema() for name, declared in OWN_TYPES.items()}
    return next((name for name, schema in schemas.items() if schema.items() <= value.items()), None)


def _default(value: Schema) -> str:
    own = _own_type(value)
    given: Any = value.get("default")
    if own == "duration":
        given = write_duration(TypeAdapter(timedelta).validate_python(given))
    elif own == "share":
        given = f"{given * 100:g}%"
    return "" if given in (None, "") else f"`{json.dumps(given)}`".replace('"', "")


def _metrics_and_gates() -> Iterator[str]:
    from ml_platform.ml import gates
    from ml_platform.ml.metrics import METRICS

    yield "\n## Metrics\n\n| task | metric | better |\n|---|---|---|"
    for task, metrics in METRICS.items():
        for name, metric in metrics.items():
            at = "" if metric.threshold is None else ", at the model's `threshold`"
            yield f"| `{task}` | `{name}` | {'higher' if metric.greater_is_better else 'lower'}{at} |"
    check = Gate(metric="roc_auc", better_than="champion").name
    yield f"\n## Gates\n\n{inspect.getdoc(gates)}\n\nEach is an asset check of `promotion`, such as `{check}`."
