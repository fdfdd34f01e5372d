"""What a graph's nodes compute: one record for each operation, with all facts about it."""
