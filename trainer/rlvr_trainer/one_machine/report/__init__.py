"""report.html of a run: one self-contained page with curves, held-out answers before and after, and the recipe."""
