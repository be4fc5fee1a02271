"""Complement lists: exact scores, the search over Spark and FAISS, and `finish()`.

`score.py`, `search.py` and `finish.py` are numpy and know nothing of Spark; `job.py` is the stage.
"""
