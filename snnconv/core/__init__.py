"""What every package may use: the registries of methods, metadata, validation, the machine."""
