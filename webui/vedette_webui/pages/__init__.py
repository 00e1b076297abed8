"""One module per page: read the address, ask the store or the cluster, render."""
