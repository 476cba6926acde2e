"""Floor 6: the training loop on Accelerate, and the run folder that it writes."""
