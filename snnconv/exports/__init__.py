"""Export formats: a file for each, with its ``EXPORT``. ``snnconv ls exports`` lists them."""
