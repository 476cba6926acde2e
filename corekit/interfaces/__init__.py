"""Floor 3: what a part promises. One interface per file; torch and lower floors, nothing else."""
