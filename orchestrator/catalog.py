"""What a manifest can name, as lines of text: methods with their settings, datasets, and published models."""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import methods
from datasets.base import Dataset, DatasetInfo, PublishedFile
from datasets.sources.address import needs_a_browser
from methods.base import Method, PostHoc

WIDTH = 100
"""columns that text is wrapped to"""

LEADS = ("Paper:", "Reference code", "Ours", "Deviations", "Cost", "Logged:")
"""how a part of a method's docstring opens"""

_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def methods_lines(plugins: Sequence[Path]) -> Iterator[str]:
    """Each method with title, paper and settings. Raises MethodError for a file that is no method."""
    for name in sorted(methods.available(plugins)):
        yield from _short(name, methods.load(name, plugins))


def method_in_full(names: Sequence[str], plugins: Sequence[Path]) -> Iterator[str]:
    """The same of some methods, with the docstrings of their files. Raises MethodError for an unknown name."""
    for name in names:
        yield from _short(name, methods.load(name, plugins))
        yield ""
        yield from _reflowed(docstring(methods.available(plugins)[name]))
        yield ""


def docstring(path: Path) -> str:
    """What a file says about itself."""
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def _short(name: str, cls: type[Method] | type[PostHoc]) -> Iterator[str]:
    yield from _wrapped(f"{name}: {cls.title} ({cls.paper}); {kind(cls)}", "    ")
    for key, type_, default, description in settings(cls):
        tail = f"; {description}" if description else ""
        yield from _wrapped(f"    {key}: {type_}, {default}{tail}", "        ")


def _reflowed(text: str) -> Iterator[str]:
    """A docstring, indented; paragraphs too wide are wrapped, formulas stand as they are."""
    for line in paragraphs(text):
        if line.startswith(" ") or not line:
            yield f"    {line}".rstrip()
        else:
            yield from _wrapped(f"    {line}", "        " if re.match(r"\d\. ", line) else "    ")


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs and list items of a docstring, each on one line; lines of formulas and empty ones as they are."""
    joined = ""
    for line in text.splitlines():
        opens = line.startswith(("    ", *LEADS)) or not line or bool(re.match(r"\d\. ", line))
        if joined and opens:
            yield joined
            joined = ""
        if not line or line.startswith("    "):
            yield line
        else:
            joined = f"{joined} {line.strip()}".strip()
    if joined:
        yield joined


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def kind(cls: type[Method] | type[PostHoc]) -> str:
    """How a method comes about."""
    if issubclass(cls, PostHoc):
        return "post-hoc, builds on all seeds together" if cls.many else "post-hoc, builds on each seed"
    return "trained" if cls.trains else "does not train"


def settings(cls: type[Method] | type[PostHoc]) -> Iterator[tuple[str, str, str, str]]:
    """(name, type, default, description) of each setting of a method."""
    schema = cls.Config.model_json_schema()
    for key, setting in schema.get("properties", {}).items():
        required = key in schema.get("required", ())
        default = "required" if required else f"default {json.dumps(setting.get('default'))}"
        yield key, _type(setting), default, setting.get("description", "")


def _type(schema: dict[str, Any]) -> str:
    """A JSON Schema in a few words: `number >= 0`, `"kld" or "mse"`, `list of number`."""
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    name = str(schema.get("type", "value"))
    if name == "array":
        return f"list of {_type(schema['items'])}" if "items" in schema else "list"
    bounds = [f"{sign} {schema[bound]:g}" for bound, sign in _BOUNDS.items() if bound in schema]
    return " ".join([name, " and ".join(bounds)]).rstrip()


def datasets_lines() -> Iterator[str]:
    """Each dataset with title, domains, revisions, number of classes and images. Raises DatasetError for a file that is no
    dataset."""
    for name in datasets.available():
        revisions = datasets.revisions(name)
        dataset = next(iter(revisions.values()))
        info = dataset.info
        yield from _wrapped(f"{name}: {info.title}; {_size(info)}; domains {_domains(info)}", "    ")
        if len(revisions) > 1:
            others = ", ".join(f"{name}@{revision}" for revision in list(revisions)[1:])
            yield from _wrapped(f"    revision {info.revision}; others: {others}", "        ")
        origin = "generated by `run`" if dataset.generated else f"from {info.source}"
        yield from _wrapped(f"    {origin}; licence: {info.license}", "        ")
    yield "`list datasets NAME` shows one in full: counts, files, what to know, how to prepare it"


def dataset_in_full(refs: Sequence[str]) -> Iterator[str]:
    """Everything known of some datasets or revisions of them. Raises DatasetError for an unknown reference."""
    for dataset, ref in [(datasets.load(ref), ref) for ref in refs]:
        info = dataset.info
        yield from _wrapped(f"{info.name}@{info.revision}: {info.title}; {_size(info)}", "    ")
        for what, text in (("from", info.source), ("licence:", info.license), ("cite:", info.citation)):
            yield from _wrapped(f"    {what} {text}", "        ")
        yield "    images of each domain:"
        yield from (f"        {line}" for line in _counted(info))
        for place, files in _by_place(dataset.files).items():
            yield from _wrapped(f"    {place}: {', '.join(files)}", "        ")
        if not dataset.generated:
            yield f"    python -m orchestrator prepare {ref} --from FOLDER{' (or: --from published)' * _offered(dataset)}"
        for note in info.notes:
            yield from _wrapped(f"    - {note}", "      ")
        for revision, other in () if "@" in ref or datasets.is_card_path(ref) else datasets.revisions(ref).items():
            if revision != info.revision:
                note = f". {other.info.notes[0]}" if other.info.notes else ""
                yield from _wrapped(f"    other revision: {ref}@{revision}, {_size(other.info)}{note}", "        ")
        yield ""


def _size(info: DatasetInfo) -> str:
    images = sum(sum(splits.values()) for splits in info.counts.values())
    return f"{len(info.classnames):,} classes" + (f", {images:,} images" if images else "")


def _domains(info: DatasetInfo) -> str:
    return ", ".join(
        f"{domain} (only if named)" * (domain in info.optional_domains) or domain for domain in info.domains
    )


def _counted(info: DatasetInfo) -> Iterator[str]:
    """A line for each domain: its splits, and what is special about its classes."""
    for domain in info.domains:
        splits = [f"{number:,} {split}" for split, number in info.counts.get(domain, {}).items()]
        scored = [f"scored over {len(info.groups[domain])} classes"] if domain in info.groups else []
        named = ["only if named"] if domain in info.optional_domains else []
        yield f"{domain}: {', '.join([*(splits or ['not stated']), *scored, *named])}"


def _by_place(files: Sequence[PublishedFile]) -> dict[str, list[str]]:
    """Where files are offered -> their names and sizes."""
    places: dict[str, list[str]] = {}
    for file in files:
        size = f" ({file.bytes / 2**30:,.2f} GiB)" if file.bytes and file.bytes >= 2**24 else ""
        url = file.urls[0] if file.urls else "by hand"
        places.setdefault(url.removesuffix(file.name), []).append(f"{file.name}{size}")
    return places


def _offered(dataset: Dataset) -> bool:
    """Whether a program can download all that is needed; not where the user has to choose one of several files."""
    needed = [file for file in dataset.files if not file.optional or file.urls]
    download = [not file.optional and not all(map(needs_a_browser, file.urls)) for file in needed]
    return bool(needed) and all(download)


def models_lines() -> Iterator[str]:
    """Each open_clip architecture with the tags of its published weights, activations matching."""
    import open_clip

    from orchestrator.manifest.models import needs_quickgelu

    for name in open_clip.list_models():
        tags = [tag for tag in open_clip.list_pretrained_tags_by_model(name) if not needs_quickgelu(name, tag)]
        if tags:
            yield f"{name}: {', '.join(tags)}"
