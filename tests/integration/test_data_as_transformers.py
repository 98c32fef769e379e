"""Our rendering and tokenising of a chat equal those of transformers, which wrote most chat templates."""

import json
from pathlib import Path

import pytest

from builders import copy_of_model
from rlvr_api.data import ChatTemplate
from rlvr_trainer.data.chat import chat_template
from rlvr_trainer.data.examples import Example
from rlvr_trainer.data.tokens import open_tokens

QUESTION = '1 + 1 <é> "?"\n'
TEMPLATES = {
    "control flow": (
        "{%- if tools is not none %}tools{% endif %}\n"
        "{% for message in messages %}\n"
        "    {% if message.role == 'system' and not loop.first %}{% continue %}{% endif %}\n"
        "{{ bos_token }}<|{{ message['role'] }}|>\n{{ message.content | trim }}{{ eos_token }}\n"
        "{% endfor %}\n"
        "{%- if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "filters and scope": (
        "{% set seen = namespace(user=false) %}\n"
        "{% for m in messages %}{% if m.role == 'user' %}{% set seen.user = true %}{% endif %}{% endfor %}\n"
        "{{ seen.user }} {{ messages | tojson(indent=2) }} {{ messages[0] | tojson }}"
    ),
    "generation marks": "{% for m in messages %}{% generation %}{{ m.content | upper }}{% endgeneration %}{% endfor %}",
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_a_chat_reads_as_transformers_writes_it(tmp_path: Path, name: str, system: str | None) -> None:
    transformers = pytest.importorskip("transformers")
    settings = json.loads((copy_of_model(tmp_path) / "tokenizer_config.json").read_text())
    settings |= {"chat_template": TEMPLATES[name], "bos_token": "<s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    example = Example(where="row 1", fields={"question": QUESTION}, answer="2", metadata={})
    opening = [{"role": "system", "content": system}] if system else []
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)

    text = chat_template(ChatTemplate(system=system), folder=tmp_path, at="chat").render(example)

    messages = [*opening, {"role": "user", "content": QUESTION}]
    assert text == theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def test_plain_text_becomes_the_same_tokens(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = copy_of_model(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)

    ours = open_tokens(folder).encode("4 - 8 + 3 =", special_tokens=True)

    assert list(ours) == theirs("4 - 8 + 3 =")["input_ids"]
