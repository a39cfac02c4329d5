"""Hyperparameter tuning jobs: training jobs that are chosen by what the ones before them found.

::

    document     what DescribeHyperParameterTuningJob answers, and its counters
    definitions  the training job definitions of a request, each with its search space; Autotune's choices
    resources    the instances of its training jobs
    warm_start   what parents' training jobs tell
    journal      the events of the search in the Store: the whole state, from which a restart goes on
    criteria     when to end before the limit
    coordinator  one step of a tuning job: hear of its training jobs, end or start some
    tuner        a thread per tuning job

The search itself is :mod:`sagespark.bayesopt`.
"""
