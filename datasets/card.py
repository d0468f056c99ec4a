"""The YAML card of a dataset of kind `folder`: its schema, and reading it with errors that name file and line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from datasets import DatasetError
from datasets.templates import NAMED_TEMPLATES

_Path = tuple[str | int, ...]


def _named(value: Any) -> Any:
    """A list of names stands for folders of the same names."""
    if isinstance(value, list) and len(set(map(str, value))) != len(value):
        raise ValueError("names repeat")
    return {name: name for name in value} if isinstance(value, list) else value


def _distinct_folders(value: dict[str, str]) -> dict[str, str]:
    if not value:
        raise ValueError("must not be empty")
    if bad := [folder for folder in value.values() if not folder or "/" in folder or folder in (".", "..")]:
        raise ValueError(f"{bad[0]!r} is not the name of a folder")
    if len(set(value.values())) != len(value):
        raise ValueError("two names have the same folder")
    return value


def _inside(folder: str) -> str:
    if not folder or folder.startswith("/") or "\\" in folder or ".." in PurePosixPath(folder).parts:
        raise ValueError(f"{folder!r} is not the name of a folder")
    return PurePosixPath(folder).as_posix()


def _distinct_places(value: dict[str, str]) -> dict[str, str]:
    """Folders of domains, which may lie deeper, or be '.': no image may belong to two of them."""
    if not value:
        raise ValueError("must not be empty")
    folders = {name: _inside(folder) for name, folder in value.items()}
    if len(set(folders.values())) != len(folders):
        raise ValueError("two names have the same folder")
    for inner in folders.values():
        if outer := [
            folder for folder in folders.values() if folder != inner and f"{inner}/".startswith(_slash(folder))
        ]:
            raise ValueError(f"folder {inner!r} lies in that of another domain, {outer[0]!r}")
    return folders


def _slash(folder: str) -> str:
    return "" if folder == "." else f"{folder}/"


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _templates(value: Any) -> Any:
    if isinstance(value, str):
        if value not in NAMED_TEMPLATES:
            raise ValueError(f"expected a list of templates or one of: {', '.join(NAMED_TEMPLATES)}; got {value!r}")
        return NAMED_TEMPLATES[value]
    return value


def _one_slot(value: tuple[str, ...]) -> tuple[str, ...]:
    if bad := [template for template in value if template.count("{}") != 1]:
        raise ValueError(f"template {bad[0]!r} must contain {{}} exactly once")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", value):
        raise ValueError(f"{value!r} must consist of letters, digits, '_' and '-'")
    return value


Named = Annotated[dict[str, str], BeforeValidator(_named), AfterValidator(_distinct_folders)]
"""Display name -> folder in order; a list of folder names is enough where both are equal."""
Places = Annotated[dict[str, str], BeforeValidator(_named), AfterValidator(_distinct_places)]
"""As `Named`, but a folder may be a path of several parts, or '.' for the top."""
Split = Literal["train", "test"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lists(_Model):
    """Files with one 'path label' a line; '{domain}' stands for the domain's folder."""

    train: str
    test: str


class CardFile(_Model):
    """An archive that the dataset is published as; see `datasets.base.PublishedFile`."""

    name: str = Field(min_length=1)
    url: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = Field((), description="one or a list of them")
    bytes: int | None = Field(None, gt=0)
    checksum: str | None = Field(None, pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")
    domains: tuple[str, ...] = Field((), description="domains that need it; all if left out")
    mount: str = Field("", description="folder that its content appears in; the top if left out")
    unpacked: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = Field(
        (), description="files or folders that are there once it is unpacked by hand"
    )


class Card(_Model):
    """A dataset of images under `<domain>/<class>/`, and which of them are for training and which for testing."""

    kind: Literal["folder"]
    name: Annotated[str, AfterValidator(_name)]
    title: str
    revision: str = Field(description="raise it when images or splits change")
    domains: Places
    classnames: Named = Field(description="in label order")
    templates: Annotated[tuple[str, ...], BeforeValidator(_templates), AfterValidator(_one_slot), Field(min_length=1)]
    source: str = Field(description="where to get the files")
    license: str
    citation: str
    lists: Lists | None = None
    test_fraction: float | None = Field(
        None, gt=0, lt=1, description="share of each domain and class held out for testing"
    )
    split_seed: int = Field(0, ge=0, description="which images test_fraction holds out")
    all_in: Split | None = Field(None, description="the split that every image belongs to; there is no other")
    root: Annotated[tuple[Annotated[str, AfterValidator(_inside)], ...], BeforeValidator(_one_or_more)] = Field(
        (), description="where domain folders and lists may lie, if not at the top; the first that has them is taken"
    )
    files: tuple[CardFile, ...] = Field((), description="archives as published, to download or to read unopened")
    counts: dict[str, dict[Split, int]] = Field(default_factory=dict)
    class_counts: dict[str, dict[Split, tuple[int, ...]]] = Field(default_factory=dict)
    optional_domains: tuple[str, ...] = Field((), description="left out unless they are named")
    groups: dict[str, tuple[str | tuple[str, ...], ...]] = Field(
        default_factory=dict, description="domain -> the classes it has; names in a list of their own count as one"
    )
    notes: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = Field((), description="known defects")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [key for key in ("lists", "test_fraction", "all_in") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                "give either lists or test_fraction, to say which images are for testing, or all_in for a single split"
            )
        for domain in self.domains:
            _name(domain)
        for key in ("counts", "class_counts", "optional_domains", "groups"):
            self._name_domains(key, getattr(self, key))
        for file in self.files:
            self._name_domains(f"files, {file.name},", file.domains)
        for domain, splits in self.class_counts.items():
            for split, counts in splits.items():
                if len(counts) != len(self.classnames):
                    raise ValueError(
                        f"class_counts of {domain}/{split} are {len(counts)} numbers for {len(self.classnames)} classes"
                    )
                if self.counts.get(domain, {}).get(split, sum(counts)) != sum(counts):
                    raise ValueError(f"class_counts of {domain}/{split} add up to {sum(counts)}, counts say otherwise")
        for domain, groups in self.groups.items():
            names = [name for group in groups for name in ((group,) if isinstance(group, str) else group)]
            if unknown := [name for name in names if name not in self.classnames]:
                raise ValueError(f"groups of {domain} name class {unknown[0]!r}, which is not in classnames")
            if not groups or () in groups:
                raise ValueError(
                    f"groups of {domain} are empty or have an empty list; leave {domain} out for all classes"
                )
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"groups of {domain} name class {twice[0]!r} twice")
        named = [
            *((d, set(by)) for d, by in self.counts.items()),
            *((d, set(by)) for d, by in self.class_counts.items()),
        ]
        for domain, counted in named:
            if self.all_in and counted != {self.all_in}:
                raise ValueError(f"counts of {domain} name other splits than all_in, {self.all_in}")
        return self

    def _name_domains(self, key: str, domains: Iterable[str]) -> None:
        if unknown := [domain for domain in domains if domain not in self.domains]:
            raise ValueError(f"{key} name domain {unknown[0]!r}; the domains are {', '.join(self.domains)}")


def read_card(path: Path) -> Card:
    """The card in a file. Raises DatasetError with one 'file:line: key: problem' line for each mistake."""
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except FileNotFoundError:
        raise DatasetError(f"card {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"card {path} cannot be read as UTF-8 text: {error}") from None
    except yaml.YAMLError as error:
        line = error.problem_mark.line + 1 if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark else 1
        raise DatasetError(f"{path}:{line}: not valid YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(root, yaml.MappingNode):
        raise DatasetError(
            f"{path}:1: a card is a mapping of keys to values, this file {'holds' if root else 'is empty'}"
            f"{' something else' if root else ''}"
        )
    problems = [f"{path}:{line}: {key!r} occurs twice" for key, line in _repeated(root)]
    try:
        card = Card.model_validate(content)
    except ValidationError as error:
        problems += [_problem(path, root, dict(detail)) for detail in error.errors()]
    if problems:
        raise DatasetError("\n".join(problems))
    return card


def _problem(path: Path, root: yaml.MappingNode, detail: dict[str, Any]) -> str:
    where: _Path = detail["loc"]
    line, key = _line(root, where), ".".join(map(str, where)) or "card"
    if detail["type"] == "extra_forbidden":
        inner: type[BaseModel] = CardFile if where[0] == "files" else Lists
        known = (Card if len(where) == 1 else inner).model_fields
        near = difflib.get_close_matches(str(where[-1]), known, n=1)
        return f"{path}:{line}: unknown key {key!r}, " + (
            f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        )
    return f"{path}:{line}: {key}: {detail['msg'].removeprefix('Value error, ')}"


def _line(node: yaml.Node, where: _Path) -> int:
    """Line of the deepest key on a path that the file has."""
    line = node.start_mark.line + 1
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _repeated(node: yaml.Node) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.value, key.start_mark.line + 1
            seen.add(key.value)
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated(value)
