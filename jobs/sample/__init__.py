"""A drawn sample shop: catalogue, pictures and outfits, made from a seed and nothing else.

For newcomers, demonstrations and tests. No picture, word or outfit is taken from a data set. Nothing else
in the house may depend on this package; `nights.py` makes the next day's catalogue.
"""
