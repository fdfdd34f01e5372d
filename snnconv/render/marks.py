"""The first lines of a report's pages, by which snnconv recognises them."""

HTML = "<title>snnconv: "
MARKDOWN = "# Spiking networks, evaluated by snnconv"
