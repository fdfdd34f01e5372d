"""The stages: a file each, ``run(config, progress) -> report``. No stage imports another."""
