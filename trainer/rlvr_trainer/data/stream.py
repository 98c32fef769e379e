"""The endless stream of prompts: position -> Prompt, a pure function.

Position p is row `p mod n` of epoch `p div n`, through a seeded shuffle of its own in every epoch when the data is to
be shuffled.  Nothing is remembered between calls, so a resumed run asks for exactly the same prompts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from rlvr_trainer.data.examples import Example, Examples
from rlvr_trainer.data.shuffle import shuffled
from rlvr_trainer.data.templates import Template
from rlvr_trainer.data.tokens import Tokens
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Prompt, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """`size` different examples of `pool`, as `key` draws them."""

    pool: Examples
    size: int
    key: str

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Example:
        return self.pool[shuffled(index, size=len(self.pool), key=self.key)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptStream:
    """Examples in order, rendered and tokenised when asked for."""

    examples: Examples
    source: str
    template: Template
    tokens: Tokens
    max_prompt_tokens: int
    shuffle_seed: int | None
    """None keeps the order of the rows."""

    def __len__(self) -> int:
        """Positions of one epoch."""
        return len(self.examples)

    def prompt(self, position: int) -> Prompt:
        """The prompt at a position from 0 on; InvalidInput when it is too long for the model."""
        epoch, place = divmod(position, len(self.examples))
        if self.shuffle_seed is not None:
            place = shuffled(place, size=len(self.examples), key=f"{self.shuffle_seed}/{epoch}")
        return self._prompt_of(self.examples[place], position)

    def checked(self, num_rows: int) -> Self:
        """Itself, once the leading `num_rows` rows have become prompts; InvalidInput for the first that cannot."""
        for place in range(min(num_rows, len(self.examples))):
            self._prompt_of(self.examples[place], place)
        return self

    def drawn(self, size: int, *, key: str) -> PromptStream:
        """A fixed stream of `size` of its rows, each once; takes no position of this one."""
        return replace(self, examples=Drawn(pool=self.examples, size=size, key=key), shuffle_seed=None)

    def _prompt_of(self, example: Example, position: int) -> Prompt:
        text = self.template.render(example)
        token_ids = self.tokens.encode(text, special_tokens=self.template.adds_special_tokens)
        if not 0 < len(token_ids) <= self.max_prompt_tokens:
            raise InvalidInput(
                f"{example.where}: the prompt has {len(token_ids)} tokens; from 1 to {self.max_prompt_tokens} fit "
                "beside the completion. Shorten or remove it, or lower spec.rollout.sampling.maxTokens."
            )
        task = Task(answer=example.answer, source=self.source, metadata=example.metadata)
        return Prompt(position=position, text=text, token_ids=token_ids, task=task)
