"""MEDAL itself: the teacher, its training and its evaluation.

Knows nothing of jobs, Spark, Delta or shops.
"""
