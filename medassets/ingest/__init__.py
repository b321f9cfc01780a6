"""One module a format: from a source file to validated rows, with the bad rows and the reason beside them."""
