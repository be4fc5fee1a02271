"""Pseudo-compatible outfits from photos of worn clothes: detections, rules, crops, and the Polyvore Outfits layout.

What is worn together in one photo is taken to be compatible; nobody labels anything. Pure: files in, files out.
"""
