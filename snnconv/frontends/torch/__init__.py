"""Networks of torch: captured by torch.fx or exported by torch.export."""
