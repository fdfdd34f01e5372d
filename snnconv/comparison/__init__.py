"""Methods side by side: presets, grids of methods and T, the search, what is worth its cost."""
