"""Tasks: one file each. A task knows its labels, its scores and its loss."""
