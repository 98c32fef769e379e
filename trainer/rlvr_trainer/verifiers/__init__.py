"""What makes a completion right: functions of a task and a text.

A verifier is a `Verifier` (verdicts.py); `verifier_for` (registry.py) makes one from its spec and `judge`
(composition.py) adds several up.  They run inside the reward service's killable workers, so none guards itself
against running for ever.
"""
