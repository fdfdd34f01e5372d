"""What the neurons of a network did: recorded step by step, written as arrays, and read again."""
