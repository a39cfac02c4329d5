"""Which columns travel: pure on schemas, problems in words."""

from __future__ import annotations

import pickle

import pytest
from pyspark.ml.linalg import VectorUDT
from pyspark.mllib.linalg import VectorUDT as OldVectorUDT
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    ByteType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from sagespark.data.frame import FrameLayout, element_type, is_vector, layout, quoted


def schema(**types: object) -> StructType:
    return StructType([StructField(name, kind) for name, kind in types.items()])


def problems(found: StructType, **options: object) -> str:
    made, texts = layout(found, **options)
    assert made is None
    return "\n".join(texts)


def test_a_vector_column_travels() -> None:
    made, texts = layout(schema(features=VectorUDT(), label=DoubleType()), labelCol="label")
    assert texts == []
    assert made == FrameLayout("vector", ("features",), label="label", labelKind="float")
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize("element", [DoubleType(), FloatType(), IntegerType(), LongType(), DecimalType(10, 2)])
def test_an_array_of_numbers_travels(element: object) -> None:
    made, texts = layout(schema(features=ArrayType(element)))
    assert (texts, made.kind if made else None) == ([], "array")


def test_numeric_columns_travel_and_tell_the_width() -> None:
    found = schema(a=DoubleType(), b=IntegerType(), c=BooleanType(), y=LongType())
    made, texts = layout(found, featuresCols=["a", "b", "c"], labelCol="y")
    assert texts == []
    assert made is not None
    assert (made.kind, made.features, made.width, made.integerLabel) == ("columns", ("a", "b", "c"), 3, True)


@pytest.mark.parametrize(
    ("metadata", "width"),
    [
        ({"ml_attr": {"num_attrs": 7}}, 7),
        ({"ml_attr": {"attrs": {"numeric": [{"idx": 0}, {"idx": 1}], "binary": [{"idx": 2}]}, "num_attrs": 3}}, 3),
        ({"ml_attr": {"attrs": {"numeric": [{"idx": 0}, {"idx": 1}]}}}, 2),
        ({"ml_attr": {"name": "features"}}, None),
        ({"comment": "by hand"}, None),
    ],
)
def test_the_attributes_of_a_vector_tell_the_width(metadata: dict[str, object], width: int | None) -> None:
    made, _ = layout(StructType([StructField("features", VectorUDT(), metadata=metadata)]))
    assert made is not None
    assert made.width == width


@pytest.mark.parametrize(
    ("attributes", "classes"),
    [
        ({"type": "nominal", "vals": ["a", "b", "c"]}, 3),
        ({"type": "nominal", "num_vals": 5}, 5),
        ({"type": "binary"}, 2),
    ],
)
def test_the_attributes_of_a_label_tell_the_classes(attributes: dict[str, object], classes: int) -> None:
    label = StructField("label", DoubleType(), metadata={"ml_attr": attributes})
    found = StructType([StructField("features", VectorUDT()), label])
    made, _ = layout(found, labelCol="label", labelKind="class")
    assert made is not None
    assert made.numClasses == classes
    assert "says" in problems(found, labelCol="label", labelKind="class", numClasses=classes + 1)


@pytest.mark.parametrize(
    ("found", "options", "says"),
    [
        (schema(feature=VectorUDT()), {}, "no column 'features'; did you mean 'feature'?"),
        (schema(Features=VectorUDT()), {}, "did you mean 'Features'?"),
        (schema(xyz=VectorUDT()), {}, "it has 'xyz'"),
        (schema(features=OldVectorUDT()), {}, "MLUtils.convertVectorColumnsToML"),
        (schema(features=DoubleType()), {}, "featuresCols=['features']"),
        (schema(features=StringType()), {}, "VectorAssembler"),
        (schema(features=ArrayType(StringType())), {}, "cast('array<double>')"),
        (schema(features=VectorUDT.sqlType()), {}, "spark.read.schema(df.schema)"),
        (schema(a=StringType()), {"featuresCols": ["a"]}, "StringIndexer"),
        (schema(a=VectorUDT()), {"featuresCols": ["a"]}, "VectorAssembler"),
        (schema(a=DoubleType()), {"featuresCols": []}, "the list is empty"),
        (schema(features=VectorUDT(), y=StringType()), {"labelCol": "y"}, "StringIndexer"),
        (schema(features=VectorUDT(), y=BooleanType()), {"labelCol": "y"}, "labelCol: column 'y' must be numeric"),
        (schema(features=VectorUDT(), w=StringType()), {"weightCol": "w"}, "weightCol: column 'w' must be numeric"),
        (schema(features=VectorUDT()), {"vectorFormat": "Dense"}, "auto, dense, sparse, but got 'Dense'"),
        (schema(features=VectorUDT()), {"featuresCol": None}, "name the column of features"),
    ],
)
def test_what_the_schema_refuses_is_said_in_words(found: StructType, options: dict[str, object], says: str) -> None:
    assert says in problems(found, **options)


@pytest.mark.parametrize(
    ("found", "name", "says"),
    [
        (schema(a=VectorUDT()), None, "inputCol: name the column of features"),
        (schema(a=VectorUDT()), "b", "inputCol: the DataFrame has no column 'b'"),
        (
            schema(a=DoubleType()),
            "a",
            "inputCol: column 'a' must be an ml Vector or an array of numbers, but is double",
        ),
    ],
)
def test_messages_name_the_param_that_names_the_column(found: StructType, name: str | None, says: str) -> None:
    text = problems(found, featuresCol=name, featuresParam="inputCol")
    assert text.startswith(says)
    assert "featuresCol" not in text


def test_a_name_that_occurs_twice_is_refused() -> None:
    twice = StructType([StructField("features", VectorUDT()), StructField("features", VectorUDT())])
    assert "2 columns called 'features'" in problems(twice)


def test_all_problems_are_reported_together() -> None:
    found = schema(features=StringType(), y=StringType())
    texts = problems(found, labelCol="y", weightCol="z", vectorFormat="x").splitlines()
    assert [t.split(":")[0].split(" ")[0] for t in texts] == ["vectorFormat", "featuresCol", "labelCol", "weightCol"]


def test_numbers_that_are_exact_in_float32_travel_as_floats() -> None:
    for element, number in [(FloatType(), "float"), (ByteType(), "float"), (IntegerType(), "double")]:
        found = schema(features=ArrayType(element))
        made, _ = layout(found)
        assert made is not None
        assert element_type(found, made) == number


def test_vectors_are_told_apart() -> None:
    assert is_vector(VectorUDT())
    assert not is_vector(OldVectorUDT())
    assert not is_vector(DoubleType())


def test_names_are_quoted_for_the_parser() -> None:
    assert quoted("a.b`c") == "`a.b``c`"
