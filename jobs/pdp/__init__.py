"""Serving: the public answer that product pages read, and a preview page that reads nothing else.

Knows the store and the taxonomy's titles; no lake, no Spark, no model.
"""
