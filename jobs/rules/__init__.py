"""Merchandising rules: what a shop's `rules.yaml` makes of pages and targets, and its check.

Numpy and Arrow only, no Spark; lists are made by `jobs.complements`, which reads `compile.Effects`.
"""
