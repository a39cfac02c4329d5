"""LDA, as AWS's container declares it."""

from __future__ import annotations

from sagespark.algorithms.spec import (
    AlgorithmSpec,
    Channel,
    FixedParam,
    Hyperparameter,
    Metric,
    Output,
    Range,
    Tunable,
)

_POSITIVE = Range(1)
_ABOVE_ZERO = Range(0, low_open=True)
_CONTENT = ("application/x-recordio-protobuf", "text/csv")

LDA = AlgorithmSpec(
    name="lda",
    version="1",
    doc="Latent Dirichlet allocation: topics of documents whose words are counted.",
    input_params=("featuresCol",),
    hyperparameters=(
        Hyperparameter(
            "num_topics",
            "int",
            "Number of topics. SageMaker requires it and has no default: while it is unset, MLlib's 10 is sent.",
            default=10,
            range=_POSITIVE,
            param="k",
            required=True,
            send=10,
            tunable=Tunable("Integer", 1, 150),
        ),
        Hyperparameter(
            "feature_dim", "int", "Number of words of the vocabulary.", range=_POSITIVE, required=True, inferred=True
        ),
        Hyperparameter(
            "mini_batch_size",
            "int",
            "Number of documents of the corpus; unset: the number of rows of the train channel.",
            range=_POSITIVE,
            required=True,
        ),
        Hyperparameter(
            "alpha0",
            "float",
            "Sum of the elements of the Dirichlet prior of a document's topics, which is spread over the topics "
            "evenly: a small one gives sparse mixtures, one above 1 gives more uniform ones.",
            default=1.0,
            range=_ABOVE_ZERO,
            tunable=Tunable("Continuous", 0.1, 10.0),
        ),
        Hyperparameter(
            "max_restarts",
            "int",
            "Restarts. AWS's: of the alternating least squares of its spectral decomposition; the embedded service's: "
            "seeds of scikit-learn's variational Bayes, the best bound being kept.",
            default=10,
            range=_POSITIVE,
        ),
        Hyperparameter(
            "max_iterations",
            "int",
            "Most iterations: of AWS's alternating least squares; passes of the embedded service's variational Bayes.",
            default=1000,
            range=_POSITIVE,
            param="maxIter",
            mllib_default=20,
        ),
        Hyperparameter(
            "tol",
            "float",
            "Target error of AWS's alternating least squares, a squared error. The embedded service stops where five "
            "passes change the perplexity by less than the square root of tol, as a share of the perplexity of the "
            "words' overall frequencies.",
            default=1e-8,
            range=_ABOVE_ZERO,
        ),
    ),
    fixed=(
        FixedParam("optimizer", "online", "SageMaker's LDA has one method, a spectral decomposition"),
        FixedParam(
            "learningOffset", 1024.0, "SageMaker's LDA sees the whole corpus at once; there is no learning rate"
        ),
        FixedParam("learningDecay", 0.51, "SageMaker's LDA sees the whole corpus at once; there is no learning rate"),
        FixedParam("subsamplingRate", 0.05, "SageMaker's LDA sees the whole corpus at once; nothing is sampled"),
        FixedParam(
            "optimizeDocConcentration", True, "SageMaker's LDA gives the document concentration with the model: alpha0"
        ),
        FixedParam(
            "docConcentration", None, "SageMaker's LDA has the sum of the document concentration instead: set alpha0"
        ),
        FixedParam("topicConcentration", None, "SageMaker's LDA has no prior of the topics"),
        FixedParam("keepLastCheckpoint", True, "SageMaker's LDA keeps no checkpoints"),
        FixedParam("checkpointInterval", 10, "SageMaker's LDA keeps no checkpoints"),
    ),
    channels=(
        Channel("train", True, _CONTENT),
        Channel("test", False, _CONTENT),
    ),
    metrics=(
        Metric("train:progress", r"#progress_metric: host=\S+, completed (\S+) %", "Maximize", "Percent done."),
        Metric(
            "train:throughput",
            r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
            "Maximize",
            "Rows per second.",
        ),
        Metric(
            "train:perplexity",
            r"#quality_metric: host=\S+, train perplexity <loss>=(\S+)",
            "Minimize",
            "Perplexity of the training rows by the bound that chose among the restarts; of the embedded service only.",
        ),
        Metric(
            "test:pwll",
            r"#quality_metric: host=\S+, test pwll <score>=(\S+)",
            "Maximize",
            "Log-likelihood per word of the test rows, the variational bound of it.",
            objective=True,
        ),
    ),
    outputs=(
        Output(
            "topic_mixture",
            "topicDistributionCol",
            "topicDistribution",
            "vector",
            "Share of each topic in the document.",
        ),
    ),
    sources=(
        "https://docs.aws.amazon.com/sagemaker/latest/dg/lda_hyperparameters.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/lda.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/lda-how-it-works.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/lda-tuning.html",
        # An artifact of AWS's container: the two arrays alpha and beta, in this order.
        "https://sagemaker-examples.readthedocs.io/en/latest/scientific_details_of_algorithms/lda_topic_modeling/"
        "LDA-Science.html",
    ),
)
"""The row of the container. Of its metrics AWS publishes the names, not the lines of the log: see `job.quality`."""
