"""The commands `medal train` and `medal evaluate`: a thin shell around `medal_model`.

No model code here; torch is imported inside the commands only.
"""
