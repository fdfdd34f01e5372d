"""What a graph's nodes compute: one record an operation, with every fact that is asked about it."""
