"""The task of the `arithmetic` model, as text: prompts, the two styles of answer, the alphabet.

    prompt   4 - 8 - 6 + 4 - 8 =
    direct   #-14
    steps    4-8=-4;-4-6=-10;-10+4=-6;-6-8=-14#-14

Prompts come from reasoning-gym's `chain_sum`: five terms from 0 to 9.  What follows the last `#` is the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

from reasoning_gym.factory import create_dataset
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel as ByteLevelSplit

TERMS = 5
PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
CHARACTERS = " 0123456789+-=;#.,"
LONGEST_COMPLETION = len("0-9=-9;-9-9=-18;-18-9=-27;-27-9=-36#-36") + 1


@dataclass(frozen=True)
class Problem:
    expression: str
    answer: str

    @property
    def prompt(self) -> str:
        return f"{self.expression} ="

    def direct(self) -> str:
        return f"#{self.answer}"

    def steps(self) -> str:
        return ";".join(partial_sums(self.expression)) + self.direct()


def partial_sums(expression: str) -> list[str]:
    """`4 - 8 + 3` -> [`4-8=-4`, `-4+3=-1`]."""
    first, *rest = expression.split()
    terms = [sign + digit for sign, digit in zip(rest[::2], rest[1::2], strict=True)]
    sums = list(accumulate(map(int, terms), initial=int(first)))
    return [f"{before}{term}={after}" for (before, after), term in zip(pairwise(sums), terms, strict=True)]


def problems(*, size: int, seed: int) -> Iterator[Problem]:
    """`size` entries of `chain_sum`; entry i depends on `seed + i` alone, as reasoning-gym defines it."""
    entries = create_dataset(
        "chain_sum", size=size, seed=seed, min_terms=TERMS, max_terms=TERMS, min_digits=1, max_digits=1
    )
    return (Problem(entry["metadata"]["expression"], entry["answer"]) for entry in entries)


def final_answer(completion: str) -> str | None:
    """What follows the last `#`, or None where there is no `#`."""
    _, mark, answer = completion.rpartition("#")
    return answer.strip() if mark else None


def character_tokenizer() -> Tokenizer:
    """One token per character; each byte outside the alphabet becomes `<unk>`.

    A byte-level BPE without merges, because transformers rebuilds the tokenizer of every Qwen2 model in that form.
    """
    special = [PAD, EOS, UNKNOWN]
    letters = CHARACTERS.replace(" ", "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}")  # how byte-level BPE writes a space
    vocabulary = {token: index for index, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = ByteLevelSplit(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens(special)
    return tokenizer
