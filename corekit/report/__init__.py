"""What a run shows: pictures and reports."""
