"""What each built-in algorithm can do here, and the tests that hold it; the README shows it.

``python -m support.algorithm_table`` (with ``tests`` on the path) prints it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sagespark.algorithms.registry import ALGORITHMS

COLUMNS = (
    "algorithm",
    "fit",
    "transform",
    "dense",
    "sparse",
    "weights",
    "validation channel",
    "multi-host",
    "against which reference",
    "tolerance",
)
NO_WEIGHTS = "no: AWS's takes none"


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Parameters
    ----------
    estimator : str
        The class.
    algorithm : str
        Its spec's name.
    sparse, weights, hosts : str
        "yes", or what holds instead.
    references : tuple of (str, str)
        What it is compared with, and how near it comes.
    tests : tuple of str
        ``path::function`` below ``tests``, which compare it.
    """

    estimator: str
    algorithm: str
    sparse: str
    weights: str
    hosts: str
    references: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]

    def cells(self) -> tuple[str, ...]:
        """Return its cells."""
        held_out = [c.name for c in ALGORITHMS[self.algorithm].channels if c.name != "train"]
        channel = ", ".join(held_out) if "validation" in held_out else f"no: AWS's has {' and '.join(held_out)}"
        names, tolerances = zip(*self.references, strict=True)
        return (
            f"`{self.estimator}`",
            "yes",
            "yes",
            "yes",
            self.sparse,
            self.weights,
            channel,
            self.hosts,
            "; ".join(names),
            "; ".join(tolerances),
        )


LINES = (
    Line(
        "KMeans",
        "kmeans",
        "yes",
        NO_WEIGHTS,
        "yes",
        (
            ("scikit-learn KMeans, dense and CSR", "centres 1e-6 relative, labels equal"),
            ("two hosts against one", "1e-5"),
        ),
        (
            "unit/local/test_kmeans_train.py::test_dense_rows_give_scikit_learns_centres",
            "unit/local/test_kmeans_train.py::test_sparse_rows_are_trained_as_csr_and_force_dense_is_honoured",
            "unit/local/test_several_hosts.py::test_lloyd_on_hosts_is_as_good_as_scikit_learn_on_one",
            "spark/test_ml_kmeans.py::test_equal_to_scikit_learn_on_the_same_rows",
        ),
    ),
    Line(
        "PCA",
        "pca",
        "yes",
        NO_WEIGHTS,
        "yes",
        (
            ("scikit-learn and SciPy", "singular values 1e-6"),
            ("MLlib PCA", "up to sign and mean"),
            ("hosts against one", "1e-5"),
        ),
        (
            "unit/local/test_pca_fit.py::test_equal_to_scikit_learn_whatever_the_rows_kind",
            "unit/local/test_pca_fit.py::test_wide_sparse_rows_are_equal_to_scipys",
            "unit/local/test_several_hosts.py::test_pca_on_hosts_gives_the_components_of_one",
            "spark/test_ml_pca.py::test_equal_to_mllib_up_to_sign_and_the_mean",
        ),
    ),
    Line(
        "LDA",
        "lda",
        "yes",
        NO_WEIGHTS,
        "no: AWS's trains on one instance only",
        (
            ("scikit-learn LatentDirichletAllocation", "topics 1e-6 relative"),
            ("known topics and MLlib LDA", "distance below 0.05; as near as MLlib's"),
        ),
        (
            "unit/local/test_lda_train.py::test_the_artifact_is_aws_own_and_scikit_learns_model",
            "unit/local/test_lda_train.py::test_topics_are_recovered",
            "spark/test_ml_topics_anomalies_neighbours.py::test_topics_are_recovered_as_well_as_by_mllib",
        ),
    ),
    Line(
        "LinearLearnerClassifier",
        "linear-learner",
        "yes",
        NO_WEIGHTS,
        "yes",
        (
            (
                "scikit-learn LogisticRegression (flights among others), SGDClassifier, LinearSVC",
                "weights 1e-5; 2e-3 by SGD",
            ),
            ("MLlib LogisticRegression, LinearSVC", "probabilities 2e-3; hinge's objective 2 %, 99 % of the classes"),
            ("hosts against one", "1e-9 with equal batches"),
        ),
        (
            "unit/local/test_linear_fit.py::test_logistic",
            "unit/local/test_linear_fit.py::test_sgd",
            "unit/local/test_linear_fit.py::test_hinge_is_that_of_linear_svc",
            "unit/local/test_linear_fit.py::test_softmax",
            "unit/local/test_linear_fit.py::test_hosts_train_the_model_of_one_host",
            "unit/local/test_linear_real_data.py::test_flights_are_logistic_regressions",
            "spark/test_ml_linear.py::test_equal_to_mllibs_logistic_regression",
            "spark/test_ml_linear.py::test_hinge_is_that_of_mllibs_linear_svc",
        ),
    ),
    Line(
        "LinearLearnerRegressor",
        "linear-learner",
        "yes",
        NO_WEIGHTS,
        "yes",
        (
            (
                "scikit-learn Ridge (diamonds among others), SVR's losses, Huber, quantile",
                "weights 1e-5, of collinear features predictions 5e-3 of the deviation; loss within the test's bound "
                "at corners",
            ),
            ("MLlib LinearRegression", "predictions 0.5 of 346; weights 5e-3 of the largest"),
            ("two hosts against one", "1e-5 of the largest weight"),
        ),
        (
            "unit/local/test_linear_fit.py::test_squared",
            "unit/local/test_linear_fit.py::test_eps_insensitive_squares",
            "unit/local/test_linear_fit.py::test_losses_with_corners",
            "unit/local/test_linear_real_data.py::test_diamonds_are_ridges",
            "spark/test_ml_linear.py::test_two_hosts_train_the_model_of_one",
            "spark/test_ml_linear.py::test_a_regressor_with_a_test_column",
        ),
    ),
    Line(
        "FactorizationMachinesClassifier",
        "factorization-machines",
        "yes",
        NO_WEIGHTS,
        "yes",
        (
            ("MLlib FMClassifier on MovieLens", "area under ROC no more than 0.01 below, 0.06 apart"),
            ("hosts against one", "weights 1e-5 with equal batches"),
        ),
        (
            "spark/test_ml_linear.py::test_factorization_machines_beside_mllibs_on_movielens",
            "unit/local/test_factorization_machines.py::test_hosts_train_the_model_of_one",
        ),
    ),
    Line(
        "FactorizationMachinesRegressor",
        "factorization-machines",
        "yes",
        NO_WEIGHTS,
        "yes",
        (
            ("MLlib FMRegressor on MovieLens", "held-out error 0.05 of a star apart"),
            ("known factors", "error below 0.1 of the deviation"),
            ("hosts against one", "weights 1e-5 with equal batches"),
        ),
        (
            "spark/test_ml_linear.py::test_factorization_machines_beside_mllibs_on_movielens",
            "spark/test_ml_linear.py::test_factorization_machines",
            "unit/local/test_factorization_machines.py::test_hosts_train_the_model_of_one",
        ),
    ),
    Line(
        "XGBoostClassifier",
        "xgboost",
        "yes",
        "yes",
        "yes",
        (("XGBoost called directly", "predictions 1e-6"),),
        (
            "unit/local/test_xgboost_train.py::test_equal_to_xgboost_itself_in_every_format",
            "unit/local/test_xgboost_train.py::test_weights_of_libsvm_and_of_csv",
            "spark/test_ml_xgboost.py::test_equal_to_the_library",
            "spark/test_ml_xgboost.py::test_two_hosts_weights_and_several_classes",
        ),
    ),
    Line(
        "XGBoostRegressor",
        "xgboost",
        "yes",
        "yes",
        "yes",
        (
            ("XGBoost called directly, every objective", "predictions 1e-6"),
            ("two hosts against one", "1e-4 relative"),
        ),
        (
            "unit/local/test_xgboost_train.py::test_every_objective",
            "wire/test_xgboost_hosts.py::test_a_regressor_on_two_hosts_is_that_of_one",
        ),
    ),
    Line(
        "XGBoostRanker",
        "xgboost",
        "yes",
        "no: XGBoost weighs queries",
        "yes: a query stays in one object",
        (
            ("XGBoost called directly, rank objectives; through Spark on the same groups", "predictions 1e-6; 1e-5"),
            ("two hosts against one", "1e-4 of the span"),
        ),
        (
            "wire/test_xgboost_hosts.py::test_a_ranker_on_two_hosts_that_hold_whole_queries_is_that_of_one",
            "unit/local/test_xgboost_train.py::test_ranking_by_query",
            "spark/test_ml_xgboost.py::test_wide_rows_of_both_kinds_and_ranking",
        ),
    ),
    Line(
        "KNNClassifier",
        "knn",
        "yes",
        NO_WEIGHTS,
        "yes",
        (
            ("scikit-learn KNeighborsClassifier", "99.8 % of classes equal (ties), distances 1e-6"),
            ("two hosts against one", "classes equal"),
        ),
        (
            "wire/test_training_hosts.py::test_neighbours_of_both_hosts_are_those_of_one",
            "unit/local/test_knn_train.py::test_classes_are_scikit_learns",
            "spark/test_ml_topics_anomalies_neighbours.py::test_classes_votes_and_shares_are_scikit_learns",
        ),
    ),
    Line(
        "KNNRegressor",
        "knn",
        "yes",
        NO_WEIGHTS,
        "yes",
        (("scikit-learn KNeighborsRegressor", "97 % of values to 1e-5 (ties)"),),
        (
            "unit/local/test_knn_train.py::test_numbers_are_scikit_learns_on_diamonds",
            "spark/test_ml_topics_anomalies_neighbours.py::test_numbers_are_scikit_learns",
        ),
    ),
    Line(
        "RandomCutForest",
        "randomcutforest",
        "read, made dense: trees need every value",
        NO_WEIGHTS,
        "yes",
        (
            ("rrcf", "rank correlation 0.9, the same top 1 %"),
            ("two hosts against one", "rank correlation 0.8, the same anomalies"),
        ),
        (
            "unit/algorithms/test_random_cuts.py::test_ranks_as_the_rrcf_package",
            "wire/test_training_hosts.py::test_a_forest_of_both_hosts_scores_as_that_of_one",
        ),
    ),
)


def table() -> str:
    """Return it as Markdown."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(line.cells() for line in LINES)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


if __name__ == "__main__":
    print(table())
