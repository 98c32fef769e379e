"""Mutants that compute the same, with the reason: (module, line, before, after) -> why."""

from __future__ import annotations

from typing import Final

EQUIVALENT: Final[dict[tuple[str, str, str, str], str]] = {
    (
        "emphasis",
        "brevity_PG = torch.where(correct_PG, 1 / lengths_PG.to(rewards_PG), 0.0)",
        "1",
        "2",
    ): "shifts are divided by the largest of them, so their unit cancels",
    (
        "entropy",
        "order_BT = entropy_BT.detach().masked_fill(~mask_BT, -math.inf).argsort(dim=-1, descending=True, stable=True)",
        "True",
        "False",
    ): "torch's sort on the CPU is stable either way; other devices need the word",
    (
        "lengths",
        "std_P1 = torch.where(std_P1 == 0, 1.0, std_P1)",
        "1.0",
        "2.0",
    ): "where all are equally long, 0 is divided by it",
    (
        "targets",
        "if within * required >= total > 0 and candidate < longest",
        "candidate < longest",
        "candidate <= longest",
    ): "a candidate as long as the longest answer is returned as that",
    ("ranking", "_TOKEN_BITS: Final = 32", "32", "33"): "any number of bits that counts the tokens of a row will do",
    (
        "ranking",
        "for low_bit in range(bits - _DIGIT_BITS, -1, -_DIGIT_BITS):",
        "1",
        "2",
    ): "steps of 16 from a multiple of 16 meet neither",
    ("ranking", "if wanted <= 0:", "wanted <= 0", "wanted < 0"): "a search for place -1 finds nothing either",
    (
        "objective",
        "return torch.where(tokens.mask_MT, values_MT, 0.0)",
        "0.0",
        "1.0",
    ): "any finite number at a pad is as good",
    (
        "objective",
        "clipped_low_MT=clipped_MT & (advantage_M1 < 0),",
        "advantage_M1 < 0",
        "advantage_M1 <= 0",
    ): "nothing is clipped without an advantage",
    (
        "objective",
        "clipped_high_MT=clipped_MT & (advantage_M1 > 0),",
        "advantage_M1 > 0",
        "advantage_M1 >= 0",
    ): "nothing is clipped without an advantage",
    (
        "losses",
        "weight_BT = torch.where(advantage_B1 > 0, 1 / ratio_BT, ratio_BT).clamp(max=cap).masked_fill(stopped_BT, 0.0)",
        "advantage_B1 > 0",
        "advantage_B1 >= 0",
    ): "the weight is multiplied by an advantage of 0",
}
