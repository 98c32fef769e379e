"""Render a conversation with the chat template that came with the model.

The template is somebody else's program: it runs in jinja2's immutable sandbox and sees the messages, the special tokens
and nothing of Python.  The clock is withheld (`strftime_now` is undefined), so a prompt is the same text every day;
templates that only prefer today's date fall back to their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rlvr_api.data import ChatTemplate
from rlvr_trainer.data.examples import Example
from rlvr_trainer.data.templates import Template, fill_in
from rlvr_trainer.errors import InvalidInput

_SPECIAL_TOKENS: Final = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class _Generation(Extension):
    """Accept `{% generation %}` blocks, which some templates use to mark the assistant's words."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def chat_template(spec: ChatTemplate, *, folder: Path, at: str) -> Template:
    """The chat template of the model in `folder`, asked to continue as the assistant."""
    settings = _read_settings(folder)
    render = _compile(_source(folder, settings, at=at), folder=folder)
    special = {name: _token_text(settings[name]) for name in _SPECIAL_TOKENS if settings.get(name)}
    opening = [{"role": "system", "content": spec.system}] if spec.system else []
    user = fill_in(spec.user, at=f"{at}.user")

    def render_example(example: Example) -> str:
        messages = [*opening, {"role": "user", "content": user(example)}]
        # tools and documents are given as none, as transformers does: templates test them with `is not none`.
        return render(
            {"messages": messages, "add_generation_prompt": True, "tools": None, "documents": None, **special}
        )

    return Template(render=render_example, adds_special_tokens=False)


def _compile(source: str, *, folder: Path) -> Callable[[Mapping[str, Any]], str]:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    try:
        template = environment.from_string(source)
    except jinja2.TemplateError as error:
        raise InvalidInput(f"the chat template of {folder} is not valid jinja: {error}. Use template.plain.") from error

    def render(values: Mapping[str, Any]) -> str:
        try:
            return template.render(values)
        except (jinja2.TemplateError, TypeError) as error:
            raise InvalidInput(
                f"the chat template of {folder} refuses the conversation: {error}. "
                "Leave out template.chat.system if it knows no system message, or use template.plain."
            ) from error

    return render


def _source(folder: Path, settings: Mapping[str, Any], *, at: str) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = settings.get("chat_template")
    if isinstance(found, list):  # several named templates
        found = {entry["name"]: entry["template"] for entry in found}.get("default")
    if not isinstance(found, str):
        raise InvalidInput(
            f"{at} is set, but the model in {folder} has no chat template (chat_template.jinja, or chat_template in "
            f"tokenizer_config.json). Use an instruction-tuned model, or template.plain."
        )
    return found


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    try:
        settings: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}. Fetch the model's files again.") from error
    return settings


def _token_text(token: Any) -> str:
    return str(token["content"]) if isinstance(token, dict) else str(token)


def _to_json(value: Any, indent: int | None = None) -> str:
    """Like transformers: no HTML escaping."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
