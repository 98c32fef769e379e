"""A small torch sampler behind the routes of vLLM."""
