"""Facts become gradients, gradients become policies and checkpoints."""
