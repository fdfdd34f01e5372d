"""What a report's pages begin with, by which they are known as such."""

HTML = "<title>snnconv: "
MARKDOWN = "# Spiking networks, evaluated by snnconv"
