"""What tests share: networks, checkpoints, example reports, the command line as a process."""
