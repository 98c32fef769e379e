"""What samples completions: the local torch engine."""
