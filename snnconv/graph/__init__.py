"""The network as data: nodes of a closed list of operations, and what can be done with them."""
