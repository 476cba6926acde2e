"""What proves a part right: conformance suites and exact oracles. Beside the floors; torch only."""
