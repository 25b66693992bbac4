"""The block about what happens by itself: when a use case runs without a hand."""

import re
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, model_validator

from ml_platform.blocks import Block
from ml_platform.references import did_you_mean

CRON_FIELDS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}


def _check_cron(value: str) -> str:
    fields = value.split()
    if len(fields) != len(CRON_FIELDS):
        raise ValueError(f"'{value}' is no cron expression; write minute, hour, day, month and weekday: '0 2 * * *'.")
    for field, (name, (least, greatest)) in zip(fields, CRON_FIELDS.items(), strict=True):
        part = r"(\*|\d+(-\d+)?)(/[1-9]\d*)?"
        if not re.fullmatch(f"{part}(,{part})*", field):
            raise ValueError(f"'{field}' is no {name} of a cron expression; write numbers, '*', '1-5', '1,2' or '*/6'.")
        numbers = [int(one) for one in re.findall(r"(?<!/)\b\d+", field)]
        if any(not least <= number <= greatest for number in numbers):
            raise ValueError(f"the {name} {field} is not between {least} and {greatest}.")
    return value


def _check_time_zone(value: str) -> str:
    if value not in (known := available_timezones()):
        raise ValueError(f"there is no time zone '{value}'; {did_you_mean(value, sorted(known))}")
    return value


Cron = Annotated[str, AfterValidator(_check_cron), Field(examples=["0 2 * * *"])]


class Automation(Block):
    """When a use case runs by itself. Everything can be switched on and off in the UI, too."""

    on: bool = Field(
        default=False,
        description="Whether its schedules, and its sensors that ask for runs, are on when they are first loaded; the "
        "switches in the UI go before it.",
    )
    mode: Literal["schedules", "declarative"] = Field(
        default="schedules",
        description="`schedules`: schedules, and sensors on files and on what was published. `declarative`: Dagster's "
        "automation conditions on the assets instead.",
    )
    data: Cron | None = Field(
        default=None,
        description="When data that is due is brought in, as a cron expression; by default at 2:00 on the first day "
        "after a partition.",
    )
    training: Cron | None = Field(
        default=None,
        description="When the model of the newest cutoff is trained if it is not yet, as a cron expression; by default "
        "each day at 4:00, so at each cutoff, or without partitions every `model.every`.",
    )
    time_zone: Annotated[str, AfterValidator(_check_time_zone)] = Field(
        default="UTC",
        description="The time zone of both, which also says when a partition is over and a cutoff is reached.",
        examples=["Europe/Berlin"],
    )

    @model_validator(mode="before")
    @classmethod
    def _read_on(cls, data: Any) -> Any:
        # YAML 1.1, which Dagster reads, takes the bare word `on` for true, as a key too
        return {"on" if key is True else key: value for key, value in data.items()} if isinstance(data, dict) else data
