"""The model's own chat template, in a sandbox."""

import json
from pathlib import Path

import pytest

from builders import copy_of_model
from rlvr_api.data import ChatTemplate
from rlvr_trainer.data.chat import chat_template
from rlvr_trainer.data.examples import Example
from rlvr_trainer.errors import InvalidInput

CHATML = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message['content'] | trim }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
EXAMPLE = Example(where="row 1", fields={"question": "1 + 1?"}, answer="2", metadata={})


def said(folder: Path, *, spec: ChatTemplate | None = None) -> str:
    return chat_template(spec or ChatTemplate(), folder=folder, at="chat").render(EXAMPLE)


def with_jinja(folder: Path, source: str) -> Path:
    return copy_of_model(folder, chat_template_jinja=source)


def test_a_question_becomes_a_conversation_that_the_assistant_continues(tmp_path: Path) -> None:
    folder = with_jinja(tmp_path, CHATML)

    assert said(folder) == "<|user|>1 + 1?<eos>\n<|assistant|>"


def test_a_system_message_comes_first_and_the_user_message_has_a_template(tmp_path: Path) -> None:
    folder = with_jinja(tmp_path, CHATML)
    spec = ChatTemplate(system="Be brief.", user="Solve {question}")

    assert said(folder, spec=spec) == "<|system|>Be brief.<eos>\n<|user|>Solve 1 + 1?<eos>\n<|assistant|>"


@pytest.mark.parametrize(
    "written", [CHATML, [{"name": "tools", "template": "x"}, {"name": "default", "template": CHATML}]]
)
def test_older_models_keep_the_template_in_their_tokenizer_config(tmp_path: Path, written: object) -> None:
    settings = {"chat_template": written, "eos_token": {"content": "</s>", "special": True}}
    folder = copy_of_model(tmp_path, tokenizer_config_json=json.dumps(settings))

    assert said(folder) == "<|user|>1 + 1?</s>\n<|assistant|>"


def test_generation_marks_are_ignored(tmp_path: Path) -> None:
    folder = with_jinja(tmp_path, "{% generation %}{{ messages[0].content }}{% endgeneration %}")

    assert said(folder) == "1 + 1?"


@pytest.mark.parametrize(
    "source",
    ["{{ messages.__class__.__mro__ }}", "{{ ''.__class__.__base__.__subclasses__() }}", "{{ messages.append(1) }}"],
)
def test_a_template_cannot_reach_python(tmp_path: Path, source: str) -> None:
    folder = with_jinja(tmp_path, source)

    with pytest.raises(InvalidInput, match="refuses the conversation"):
        said(folder)


def test_a_template_that_refuses_is_quoted(tmp_path: Path) -> None:
    folder = with_jinja(tmp_path, "{{ raise_exception('no system message, please') }}")

    with pytest.raises(InvalidInput, match=r"no system message, please. Leave out template.chat.system"):
        said(folder)


def test_a_broken_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not valid jinja"):
        said(with_jinja(tmp_path, "{% for %}"))


def test_a_chat_gets_no_further_special_tokens(tmp_path: Path) -> None:
    template = chat_template(ChatTemplate(), folder=with_jinja(tmp_path, CHATML), at="chat")

    assert not template.adds_special_tokens
