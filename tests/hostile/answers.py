r"""Hostile answers to the mathematics verifier: giants, nests, ambiguities, code, and pathological LaTeX.

None equals the reference, 72.  @FILE@ and @FOLDER@ as in programs.py.
"""

# ruff: noqa: RUF001 - an answer is one line of the table, with the letters it has

from __future__ import annotations

from typing import Final

ANSWERS: Final = (
    # giant numbers
    "9^{9^{9^{9}}}",
    "2^{10^9}",
    "1000000!",
    "((10!)!)!",
    "7" * 1_900,
    "7" * 200_000,
    "0." + "3" * 100_000,
    "\\binom{1000000000}{500000000}",
    "10^{-10^{9}}",
    "72^{72^{72}}",
    "\\frac{1}{10^{10^{10}}}",
    "e^{e^{e^{e^{10}}}}",
    # nests
    "(" * 300 + "1" + ")" * 300,
    "(" * 3_000 + "1",
    "\\frac{1}{" * 200 + "2" + "}" * 200,
    "\\sqrt{" * 19 + "2" + "}" * 19,
    "\\sqrt{" * 500 + "2" + "}" * 500,
    "\\left(" * 15 + "x" + "\\right)" * 15,
    "x^{" * 18 + "2" + "}" * 18,
    "|" * 400,
    "{" * 5_000,
    "}" * 5_000,
    "\\begin{pmatrix}" * 15 + "1" + "\\end{pmatrix}" * 15,
    # long
    "+".join(f"x_{{{n}}}^{n}" for n in range(3_000)),
    "+".join("\\sin{x}" for _ in range(150)),
    ",".join(str(n) for n in range(500)),
    "\\{" + ",".join(str(n) for n in range(2_000)) + "\\}",
    "\\begin{pmatrix}" + "\\\\".join("&".join("1" for _ in range(20)) for _ in range(20)) + "\\end{pmatrix}",
    "\\boxed{" * 5_000 + "73",
    "x" * 1_900,
    "a " * 900,
    "\\" * 1_999,
    # hard
    "\\int_0^{\\infty} \\frac{\\sin^{20}(x^{20})}{x^{21}+e^{x}} dx",
    "\\sum_{k=1}^{1000000000} \\frac{1}{k^{k}}",
    "\\prod_{k=1}^{10000000} (1 + \\frac{1}{k})",
    "\\lim_{x \\to 0} \\frac{\\sin(\\tan(x)) - \\tan(\\sin(x))}{x^{70}}",
    "(x+y+z+w)^{40}",
    "(1+x)^{100000}",
    "\\sqrt{2+\\sqrt{3+\\sqrt{5+\\sqrt{7+\\sqrt{11+\\sqrt{13}}}}}}",
    "\\frac{d^{50}}{dx^{50}} \\frac{\\tan x}{x}",
    "\\sin(\\cos(\\tan(\\sin(\\cos(\\tan(10^{100}))))))",
    "x^5 - x - 1 = 0",
    "\\{x : x^{99} + x + 1 = 0\\}",
    # code and commands
    "__import__('os').system('touch @FOLDER@/left')",
    "exec(\"open('@FOLDER@/left','w')\")",
    "open('@FILE@').read()",
    "\\input{@FILE@}",
    "\\write18{touch @FOLDER@/left}",
    "\\operatorname{eval}(open('@FOLDER@/left','w'))",
    "lambda: (lambda: 73)()",
    "{0.__class__.__mro__[1].__subclasses__()}",
    "%s%s%s%n{}{0}{x}",
    "${73}$ $(touch @FOLDER@/left) `touch @FOLDER@/left`",
    "<script>73</script>&lt;73&gt;",
    # odd text
    "\x00\x1b[2J\ufffd\u202e",
    "\u202e27\u202c",
    "７３",
    "7\u200b3",
    "\\text{\\text{\\text{72x}}}",
    "\\frac{72}{0}",
    "0/0",
    "\\infty - \\infty",
    "NaN",
    # more than one answer
    "71, 72, 73",
    "71 \\text{ or } 72",
    "\\text{any number}",
    "x \\ge 72",
    "(-\\infty, \\infty)",
    "\\mathbb{R}",
    "72 = 73",
    "72 + x - x + 1",
)
"""What stands where the answer is looked for."""

DRESSES: Final = (
    "so \\boxed{%s}",
    "The answer is $%s$.",
    "It was long.\n#### %s",
    "Thus, in the end, we have\n\\[ %s \\]",
)
"""Where an answer may stand."""
