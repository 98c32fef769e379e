"""The jail: where programs that a model wrote are run.

boundary      the worker's side: Jail.run and Jail.examine
exchange      pipes, limits and endings of one conversation
keeper        the small process that forks a confined child per program
confinement   what a child gets and what this machine must have
kernel, bpf, syscalls   Landlock, seccomp and the allow list
inside        what a child does: run a program, answer calls, examine
calls, values, examiner   function tests whose expected results the program's process never holds
"""
