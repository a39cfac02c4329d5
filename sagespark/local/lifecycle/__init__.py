"""The life of a training job, from the request to its artifacts in S3.

A job passes through these steps, one module each::

    status      the document that DescribeTrainingJob answers, and its transitions
    hosts       the job's hosts, from ResourceConfig
    channels    which objects each channel gives to each host
    workspace   the folder that a host's container sees as /opt/ml
    run         one job: download, train, upload, end
    output      the containers' lines -> log events
    metrics     log lines -> FinalMetricDataList
    failure     exit code and /opt/ml/output/failure -> FailureReason
    artifacts   /opt/ml/model and /opt/ml/output/data -> S3
    supervisor  all jobs: how many at a time, stopping, recovery
"""
