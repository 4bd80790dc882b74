"""Tasks by name: ``scale-detection:task=1,dim=1,length=32,scale=11,gap=4,train=48``."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from poolscope.tasks.scale_detection import ScaleDetection
from poolscope.tasks.splits import Split

PREFIX = "scale-detection:"

_TASK = {field.name: field for field in dataclasses.fields(ScaleDetection)}
_SPLIT = {field.name: field for field in dataclasses.fields(Split)}
_WHOLE = {"task", "dim", "length", "scale", "padding", "train", "test", "seed"}
_REAL = {"gap", "pixel"}


def parse(name: str) -> tuple[ScaleDetection, Split | None]:
    """Return the task of a name, and how its pairs are shared out if it says ``train=``.

    Args:
        name: ``scale-detection:`` and fields of `ScaleDetection` and `Split` as key=value with commas; what is left out
            has its default. ``scale-detection:`` alone is task 1 in one dimension.

    Raises:
        ValueError: another beginning, a field that there is not, twice the same, or a value out of range.
    """
    if not name.startswith(PREFIX):
        raise ValueError(f"a task's name must begin with {PREFIX}; got {name!r}")
    task: dict[str, Any] = {}
    split: dict[str, Any] = {}
    for part in filter(None, (each.strip() for each in name.removeprefix(PREFIX).split(","))):
        key, equals, text = (each.strip() for each in part.partition("="))
        place = task if key in _TASK else split if key in _SPLIT else None
        if place is None or not equals:
            close = difflib.get_close_matches(key, [*_TASK, *_SPLIT], n=1)
            hint = f" (did you mean {close[0]}=?)" if close else ""
            raise ValueError(
                f"fields of {PREFIX} must be like key=value with keys among {', '.join([*_TASK, *_SPLIT])}; "
                f"got {part!r}{hint}"
            )
        if key in place:
            raise ValueError(f"every field of {PREFIX} must be given once; got {key} twice")
        place[key] = _value(key, text)
    if split and "train" not in split:
        raise ValueError(f"{', '.join(split)} need train=, a number of training pairs; got {name!r}")
    return ScaleDetection(**task), Split(**split) if split else None


def format_name(task: ScaleDetection, split: Split | None = None) -> str:
    """Return the name of a task, with what differs from the defaults after its five sizes."""
    always = ("task", "dim", "length", "scale", *(["gap"] if task.task == 1 else []))
    shown = {key: getattr(task, key) for key in always}
    for part, fields in ((task, _TASK), (split, _SPLIT)):
        if part is not None:
            shown |= {
                key: value
                for key, field in fields.items()
                if (value := getattr(part, key)) != field.default and key not in shown
            }
    return PREFIX + ",".join(
        f"{key}={_shortest(value) if key in _REAL and not isinstance(value, str) else value}"
        for key, value in shown.items()
    )


def _shortest(number: float) -> str:
    """Return the number in words that `parse` reads as the very same."""
    return short if float(short := f"{number:g}") == number else repr(float(number))


def _value(key: str, text: str) -> Any:
    try:
        if key in _WHOLE:
            return int(text)
        if key in _REAL and not (key == "pixel" and text in ("unit", "published")):
            return float(text)
    except ValueError:
        kind = "a whole number" if key in _WHOLE else "a number"
        raise ValueError(f"{key} of {PREFIX} must be {kind}; got {text!r}") from None
    return text
