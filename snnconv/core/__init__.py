"""What every room may use: errors, the registry of methods, metadata, validation, the machine."""
