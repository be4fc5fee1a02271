"""Contracts: table schemas, taxonomy, expectation suites.

Data and pure checks only; imports nothing of the project.
"""
