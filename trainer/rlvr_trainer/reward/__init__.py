"""The reward service: completions in, verdicts out.

service  HTTP: batches of items, back-pressure
pool     worker processes; deadlines, replacement
dealing  which of the waiting items a worker is handed next
worker   what runs in a worker: one item after the other
frames   the messages between them
"""
