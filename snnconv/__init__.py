"""snnconv: convert trained neural networks into spiking ones, and prove what was done."""
