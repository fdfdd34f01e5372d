"""The stages: one file each, with ``run(config, progress) -> report``; none imports another."""
