"""What every block of a YAML file is made of: unknown keys refused by place, durations, sizes, shares, references."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any, NoReturn, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from ml_platform.references import did_you_mean

UNITS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
MEMORY_UNITS = {"MB": 10**6, "GB": 10**9}
MOST_DIGITS = 15


def _parse_duration(value: object) -> object:
    if isinstance(value, timedelta) and value >= timedelta(0):
        return value
    number, _, unit = str(value).strip().partition(" ")
    seconds = UNITS.get(unit.strip().removesuffix("s"))
    try:
        if seconds is not None and number.isdecimal():
            return timedelta(seconds=int(number) * seconds)
    except (OverflowError, ValueError):  # more than a timedelta, or than int() reads
        pass
    raise ValueError(f"'{value}' is no duration; write a whole number and a unit, such as '7 days' or '12 hours'.")


def write_duration(value: timedelta) -> str:
    """A duration as it stands in a YAML file, such as `7 days`."""
    for unit in ("day", "hour", "minute", "second"):
        number, rest = divmod(value, timedelta(seconds=UNITS[unit]))
        if not rest:
            return f"{number} {unit}{'s' * (number != 1)}"
    raise ValueError(f"{value} is no whole number of seconds, which is all that can be written; round it.")


def _parse_memory(value: object) -> object:
    number, _, unit = str(value).strip().partition(" ")
    size = MEMORY_UNITS.get(unit.strip())
    if size is not None and number.isdecimal() and len(number) <= MOST_DIGITS and int(number) > 0:
        return int(number) * size
    if isinstance(value, int) and value > 0 and value % MEMORY_UNITS["MB"] == 0:  # bytes: read already
        return value
    raise ValueError(f"'{value}' is no size of memory; write a whole number and a unit, such as '4 GB' or '500 MB'.")


def write_memory(value: int) -> str:
    """A size in bytes as it stands in a YAML file, such as `4 GB`."""
    number, rest = divmod(value, MEMORY_UNITS["GB"])
    return f"{value // MEMORY_UNITS['MB']} MB" if rest else f"{number} GB"


def _parse_share(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"'{value}' is no share; write a percentage such as '2%'.")  # noqa: TRY004 - pydantic's
    if not isinstance(value, str):
        return value
    try:
        return float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError as error:
        raise ValueError(f"'{value}' is no share; write a percentage such as '2%'.") from error


Duration = Annotated[
    timedelta,
    BeforeValidator(_parse_duration),
    # as JSON a use case is what its YAML file says, so that it can be read again
    PlainSerializer(write_duration, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["7 days"]}),
]
Memory = Annotated[
    int,
    BeforeValidator(_parse_memory),
    PlainSerializer(write_memory, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["4 GB"]}),
]
Share = Annotated[
    float,
    Field(ge=0, le=1),
    BeforeValidator(_parse_share),
    WithJsonSchema({"type": ["string", "number"], "examples": ["2%"]}),
]
Reference = Annotated[
    str, Field(examples=[".features:build"], pattern=r"^\.?[A-Za-z_][\w.]*[:.][A-Za-z_]\w*$|^\{\{.*\}\}$")
]


def one_error(wanted: str) -> WrapValidator:
    """Refuse what no member of a union takes once, as not `wanted`, instead of once for each member."""

    def validate(value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(f"{value!r} is not {wanted}.") from None

    return WrapValidator(validate)


def _without_tag(value: Any, handler: Callable[[Any], Any]) -> Any:
    try:
        return handler(value)
    except ValidationError as error:
        lines = [
            InitErrorDetails(type=one["type"], loc=one["loc"][1:], input=one["input"], ctx=one.get("ctx", {}))
            for one in error.errors()
        ]
        raise ValidationError.from_exception_data(error.title, lines) from None


without_tag = WrapValidator(_without_tag)
"""Refuse what a member of a union does not take without the member's name, which stands in no YAML file."""

Scalar = Annotated[int | float | str | bool, one_error("a number, a text, true or false")]
Argument = Annotated[Scalar | list[Scalar], one_error("a number, a text, true or false, or a list of them")]


def refuse(title: str, at: Sequence[str | int], message: str, value: object) -> NoReturn:
    """Raise a ValidationError for the field at `at`, so that whoever loads the YAML can name its line."""
    raise ValidationError.from_exception_data(title, [_error(at, message, value)])


def _error(at: Sequence[str | int], message: str, value: object) -> InitErrorDetails:
    return InitErrorDetails(type="value_error", loc=tuple(at), input=value, ctx={"error": ValueError(message)})


class Block(BaseModel):
    """A block of the YAML file: immutable, unknown keys are refused with what was probably meant."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="wrap")
    @classmethod
    def _say_what_was_meant(cls, data: Any, handler: Callable[[Any], Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            raise ValidationError.from_exception_data(
                error.title, [cls._explained(one) for one in error.errors()]
            ) from None

    @classmethod
    def _explained(cls, error: Any) -> InitErrorDetails:
        at, value = error["loc"], error["input"]
        if at and (field := cls.model_fields.get(at[0])) and field.discriminator:
            at = (at[0], *at[2:])  # without the name of the union's member, which stands in no YAML file
        if error["type"] == "union_tag_invalid":
            tags = [tag.strip("' ") for tag in error["ctx"]["expected_tags"].split(",")]
            tag = error["ctx"]["tag"]
            return _error((*at, "type"), f"'{tag}' is not allowed here; {did_you_mean(tag, tags)}", value)
        if error["type"] == "union_tag_not_found":
            return _error((*at, "type"), "the key 'type' is missing.", value)
        if error["type"] == "extra_forbidden":
            keys = [field.alias or name for name, field in cls.model_fields.items()]
            return _error(at, f"unknown key '{at[-1]}'; {did_you_mean(str(at[-1]), keys)}", value)
        if error["type"] == "literal_error":
            choices = [choice.strip("' ") for choice in error["ctx"]["expected"].replace(" or ", ",").split(",")]
            return _error(at, f"'{value}' is not allowed here; {did_you_mean(str(value), choices)}", value)
        if error["type"] == "missing":
            return _error(at, f"the key '{at[-1]}' is missing.", value)
        if error["type"] == "value_error":
            return InitErrorDetails(type="value_error", loc=at, input=value, ctx=error["ctx"])
        return _error(at, f"{error['msg']} (here: {value!r}).", value)
