"""The life of a training job, from the request to its artifacts in S3.

A job passes through these steps, one module each::

    status       the document that DescribeTrainingJob answers, and its transitions
    hosts        the job's hosts, from ResourceConfig
    channels     which objects each channel gives to each host
    augmented    an augmented manifest's lines
    workspace    the folder that a host's container sees as /opt/ml
    parts        what jobs need of the service
    run          one job: its attempts, upload, end
    attempt      one attempt: download, train; what ends it from outside
    cluster      the containers of an attempt
    pipes        Pipe mode: objects -> named pipes
    checkpoints  the folder that is kept in S3 while the containers run
    output       the containers' lines -> log events
    metrics      log lines -> FinalMetricDataList
    failure      exit code and /opt/ml/output/failure -> FailureReason
    artifacts    /opt/ml/model and /opt/ml/output/data -> S3
    warm_pool    instances that stay for the next job
    supervisor   all jobs: how many at a time, stopping, interrupting, recovery
"""
