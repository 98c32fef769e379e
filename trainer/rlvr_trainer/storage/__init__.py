"""Checkpoints and policies on disk and in object stores.

store        one layer over file, S3 and every other store fsspec knows; errors a user can act on
checkpoints  save, find, fetch and retire checkpoints; READY is written last
uploader     the same in the background, patient with a store that is away or full
policies     policy folders that the learner publishes and rollouts fetch
"""
