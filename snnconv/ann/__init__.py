"""Where networks come from: the zoo, torch modules, checkpoints."""
