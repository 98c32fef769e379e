"""The reward service: completions in, verdicts out.

service  HTTP: batches of items, back-pressure
pool     worker processes and the queue before them; deadlines, replacement
worker   what runs in a worker: one item after the other
frames   the messages between them
"""
