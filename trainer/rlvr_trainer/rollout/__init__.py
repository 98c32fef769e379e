"""The agent in front of an engine: generation in, new policies in."""
