"""What runs: one package a stage, one CLI (`medal`).

Nothing here knows of Airflow. May import `medal_model` and `schemas`; nothing imports `jobs`.
"""
