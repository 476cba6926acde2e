"""From checkpoints of other code bases to specs and weights of ours."""
