"""From operations of any front end to those of the graph."""
