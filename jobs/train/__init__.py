"""The commands `medal train`, `evaluate`, `study`, `text-table` and `harvest`: a thin shell around `medal_model`.

No model code here; torch is imported inside the commands only.
"""
