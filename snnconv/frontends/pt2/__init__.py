"""Networks from files of torch.export, read without running code."""
