"""Stage embed: catalogue items whose image has no vector yet -> `embeddings`, failures -> `quarantine`."""
