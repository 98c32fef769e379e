"""The code verifier: the last code block of a completion must pass the tests of its record.

blocks    which part of a completion is the program
records   the tests of a record, in the forms of common data sets
outputs   whether an output is the expected one
verify    programs in the jail, and the verdict
"""
