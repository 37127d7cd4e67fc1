"""Reads the settings' models: types and bounds in the words of a stack file, descriptions, nested models. Pure."""

import ast
import inspect
import itertools
import re
import textwrap
import types
import typing
from collections.abc import Iterator
from typing import Any, Final, Literal

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.types import StringConstraints


def docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Field -> the text that stands below it in the source, base classes included."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not (isinstance(base, type) and issubclass(base, BaseModel)) or base is BaseModel:
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for field, below in itertools.pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[field.target.id] = inspect.cleandoc(below.value.value)
    return found


def _unwrap(annotation: Any) -> tuple[Any, list[Any]]:
    """An annotation without ``Annotated``, and the metadata that it carried."""
    metadata: list[Any] = []
    while typing.get_origin(annotation) is typing.Annotated:
        metadata += typing.get_args(annotation)[1:]
        annotation = typing.get_args(annotation)[0]
    return annotation, metadata


def _parts(annotation: Any) -> list[Any]:
    """The members of a union without None."""
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return [part for part in typing.get_args(annotation) if part is not type(None)]
    return [annotation]


_NAMES: Final = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def type_name(annotation: Any) -> str:
    """A type in the words of a stack file."""
    plain, _ = _unwrap(annotation)
    origin, arguments = typing.get_origin(plain), typing.get_args(plain)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(dict.fromkeys(type_name(part) for part in _parts(plain)))
    if origin is Literal:
        return ("one of " if len(arguments) > 1 else "") + ", ".join(f"`{value}`" for value in arguments)
    if origin in {tuple, list}:
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return f"name → {type_name(arguments[1])}"
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return "object, see below"
    return _NAMES.get(plain, getattr(plain, "__name__", str(plain)))


def _bounds(metadata: list[Any]) -> Iterator[str]:
    for item in metadata:
        match item:
            case annotated_types.Ge():
                yield f"≥ {item.ge}"
            case annotated_types.Gt():
                yield f"> {item.gt}"
            case annotated_types.Le():
                yield f"≤ {item.le}"
            case annotated_types.Lt():
                yield f"< {item.lt}"
            case annotated_types.MinLen():
                yield f"at least {item.min_length} long"
            case annotated_types.MaxLen():
                yield f"at most {item.max_length} long"
            case StringConstraints():
                yield from [f"at least {item.min_length} long"] if item.min_length else []
                yield from [f"at most {item.max_length} long"] if item.max_length else []
                yield from [f"`{_plain(item.pattern)}`"] if item.pattern else []
            case FieldInfo():
                yield from _bounds(item.metadata)
            case _ if getattr(item, "pattern", None):
                yield f"`{_plain(item.pattern)}`"


def _plain(pattern: str | re.Pattern[str]) -> str:
    text = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
    return text.replace("|", "\\|")


def allowed(annotation: Any, metadata: list[Any]) -> str:
    """What a value must fulfil."""
    _, own = _unwrap(annotation)
    found = list(_bounds([*metadata, *own]))
    for part in _parts(_unwrap(annotation)[0]):
        plain, inner = _unwrap(part)
        found += _bounds(inner) if part is not annotation else []
        if typing.get_origin(plain) in {tuple, list}:
            found += [f"each {bound}" for bound in _bounds(_unwrap(typing.get_args(plain)[0])[1])]
    return ", ".join(dict.fromkeys(found))


def models_behind(annotation: Any) -> list[tuple[str, type[BaseModel]]]:
    """The models behind a field (several where one of some is chosen by its type), each with what its path gets
    appended: nothing, ``.<name>`` or ``[]``.
    """
    found: list[tuple[str, type[BaseModel]]] = []
    for part in _parts(_unwrap(annotation)[0]):
        plain, _ = _unwrap(part)
        origin, arguments = typing.get_origin(plain), typing.get_args(plain)
        if isinstance(plain, type) and issubclass(plain, BaseModel):
            found.append(("", plain))
        elif origin is dict:
            found += [(f".<name>{suffix}", model) for suffix, model in models_behind(arguments[1])]
        elif origin in {tuple, list}:
            found += [(f"[]{suffix}", model) for suffix, model in models_behind(arguments[0])]
        elif origin in {typing.Union, types.UnionType}:
            found += models_behind(plain)
    return found


def nested(annotation: Any) -> tuple[str, type[BaseModel]] | None:
    """The first of the models behind a field."""
    found = models_behind(annotation)
    return found[0] if found else None


def choice(model: type[BaseModel]) -> str:
    """The value of ``type`` by which a model is chosen among others, or nothing."""
    field = model.model_fields.get("type")
    values = typing.get_args(field.annotation) if field is not None else ()
    return str(values[0]) if len(values) == 1 else ""


def one_line(text: str) -> str:
    """Text for a table's cell, as a sentence."""
    flat = re.sub(r"\s+", " ", text.replace("``", "`").replace("|", "\\|")).strip()
    return f"{flat[:1].upper()}{flat[1:]}{'' if not flat or flat.endswith('.') else '.'}"


def description(model: type[BaseModel], name: str) -> str:
    """What a field means: its own description, the text below it, or what a base class says of it."""
    field = model.model_fields[name]
    if field.description:
        return field.description
    for part in _parts(_unwrap(field.annotation)[0]):
        for item in _unwrap(part)[1]:
            if isinstance(item, FieldInfo) and item.description:
                return item.description
    return docstrings(model).get(name) or _inherited(model, name)


def _inherited(model: type[BaseModel], name: str) -> str:
    for base in model.__mro__[1:]:
        if isinstance(base, type) and issubclass(base, BaseModel) and name in base.model_fields:
            field = base.model_fields[name]
            if field.description:
                return field.description
    return ""
