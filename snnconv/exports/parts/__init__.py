"""What formats are written with: graphs, writers, simulators."""
