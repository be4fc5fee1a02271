"""The catalogue: reading files, checking rows, the dated snapshot.

No vectors and no images' bytes here; images are only listed.
"""
