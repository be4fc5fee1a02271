"""Where images are: sources that list images cheaply and fetch their bytes. Addresses are data from outside."""
