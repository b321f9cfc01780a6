"""One module a layer of the graph; each asset function is thin over one domain function."""
