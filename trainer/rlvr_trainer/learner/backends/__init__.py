"""What holds the weights and takes the optimizer step."""
