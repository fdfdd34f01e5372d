"""What stands for the derivative of a spike in training, a file each."""
