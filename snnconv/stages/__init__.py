"""The stages: a file for each with ``run(config, progress) -> report``; none imports another."""
