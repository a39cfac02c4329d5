"""Which columns of a DataFrame travel, and as what. Pure on schemas: no session, no rows.

Notation: ``d`` is the number of features (the width).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    NumericType,
    StringType,
    StructField,
    StructType,
)

Kind = Literal["vector", "array", "columns"]
LabelKind = Literal["none", "float", "class"]

WIDE = 1024
"""Most features of a sparse row that is sent dense; nothing above is ever densified."""
VECTOR_FORMATS = ("auto", "dense", "sparse")


@dataclass(frozen=True)
class FrameLayout:
    """The columns that travel.

    Parameters
    ----------
    kind : {'vector', 'array', 'columns'}
        One ml Vector column, one array of numbers, or several numeric columns.
    features : tuple of str
        Their names; one name unless ``kind`` is 'columns'.
    label, weight : str or None
        Numeric columns.
    group : str or None
        Column of query ids: whole numbers, whose rows are ranked among each other.
    vectorFormat : {'auto', 'dense', 'sparse'}
        How rows are sent. 'auto': dense rows dense, sparse rows sparse above `WIDE` features and dense up to it.
    width : int or None
        ``d`` where the schema tells: the column's ML attributes, or the number of columns.
    missing : {'refuse', 'keep'}
        What NaN in the features means to the algorithm; under 'keep' a null element counts as NaN.
    labelKind : {'none', 'float', 'class'}
        What the label must be: any float32, or one of 0, 1, ..., ``numClasses`` - 1.
    numClasses : int or None
        Where it is known: given, or the label's ML attributes.
    integerLabel : bool
        Whether the label column's type is an integer type: its values must be exact in float32.
    """

    kind: Kind
    features: tuple[str, ...]
    label: str | None = None
    weight: str | None = None
    group: str | None = None
    vectorFormat: Literal["auto", "dense", "sparse"] = "auto"
    width: int | None = None
    missing: Literal["refuse", "keep"] = "refuse"
    labelKind: LabelKind = "none"
    numClasses: int | None = None
    integerLabel: bool = False

    @property
    def title(self) -> str:
        """What messages call the features."""
        return self.features[0] if self.kind != "columns" else "featuresCols"


def layout(
    schema: StructType,
    *,
    featuresCol: str | None = "features",
    featuresCols: Sequence[str] | None = None,
    featuresParam: str = "featuresCol",
    labelCol: str | None = None,
    weightCol: str | None = None,
    qidCol: str | None = None,
    vectorFormat: str = "auto",
    missing: str = "refuse",
    labelKind: LabelKind | None = None,
    numClasses: int | None = None,
) -> tuple[FrameLayout | None, list[str]]:
    """Return which columns travel and how, or None, and every problem in words.

    Parameters
    ----------
    schema : StructType
        The DataFrame's schema.
    featuresCol : str or None
        One column of ml Vectors or arrays of numbers; not looked at where ``featuresCols`` is given.
    featuresCols : sequence of str or None
        Numeric or boolean columns, one feature each.
    featuresParam : str
        What messages call ``featuresCol``; one of another name has no ``featuresCols`` beside it.
    labelCol, weightCol, qidCol : str or None
        Numeric columns.
    vectorFormat : {'auto', 'dense', 'sparse'}
    missing : {'refuse', 'keep'}
    labelKind : {'none', 'float', 'class'} or None
        None: 'float' where there is a label.
    numClasses : int or None
        Number of classes, where it is known.
    """
    problems: list[str] = []
    if vectorFormat not in VECTOR_FORMATS:
        problems.append(f"vectorFormat must be one of {', '.join(VECTOR_FORMATS)}, but got {vectorFormat!r}")
    if featuresCols is not None:
        kind, features, width = _columns(schema, featuresCols, problems)
    else:
        kind, features, width = _column(schema, featuresCol, featuresParam, problems)
    label = _number(schema, "labelCol", labelCol, problems)
    _number(schema, "weightCol", weightCol, problems)
    _number(schema, "qidCol", qidCol, problems)
    told = _classes(label)
    if labelKind == "class" and None not in (numClasses, told) and numClasses != told:
        problems.append(
            f"labelCol: the schema's metadata of {labelCol!r} says {told} classes, but {numClasses} are set"
        )
    if problems:
        return None, problems
    found = FrameLayout(
        kind,
        features,
        label=labelCol,
        weight=weightCol,
        group=qidCol,
        vectorFormat=vectorFormat,  # type: ignore[arg-type]  # checked above
        width=width,
        missing=missing,  # type: ignore[arg-type]  # the spec row's literal
        labelKind="none" if labelCol is None else (labelKind or "float"),
        numClasses=told if numClasses is None else numClasses,
        integerLabel=label is not None and isinstance(label.dataType, IntegralType),
    )
    return found, problems


def quoted(name: str) -> str:
    """Return a column name as Spark's parser takes it, whatever characters it holds."""
    return "`" + name.replace("`", "``") + "`"


def _find(schema: StructType, param: str, name: str, problems: list[str]) -> StructField | None:
    found = [field for field in schema.fields if field.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        problems.append(f"{param}: the DataFrame has {len(found)} columns called {name!r}; rename all but one of them")
        return None
    near = [n for n in schema.names if n.lower() == name.lower()] or get_close_matches(name, schema.names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, schema.names[:20])) or 'none'}"
    problems.append(f"{param}: the DataFrame has no column {name!r}; {hint}")
    return None


def _column(
    schema: StructType, name: str | None, param: str, problems: list[str]
) -> tuple[Kind, tuple[str, ...], int | None]:
    several = param == "featuresCol"
    if not name:
        or_else = ", or give numeric columns by featuresCols" if several else ""
        problems.append(f"{param}: name the column of features{or_else}")
        return "vector", (), None
    field = _find(schema, param, name, problems)
    if field is None:
        return "vector", (name,), None
    kind: Kind = "vector"
    if isinstance(field.dataType, ArrayType) and isinstance(field.dataType.elementType, NumericType):
        kind = "array"
    elif not is_vector(field.dataType):
        problems.append(f"{param}: {_refused_features(name, field.dataType, several)}")
    width = _attributes(field)
    if width == 0:
        problems.append(f"{param}: the schema's metadata says that {name!r} has no features; at least one is needed")
    return kind, (name,), width


def _columns(schema: StructType, names: Sequence[str], problems: list[str]) -> tuple[Kind, tuple[str, ...], int | None]:
    if not names:
        problems.append("featuresCols: the list is empty; name at least one numeric column")
    for name in names:
        field = _find(schema, "featuresCols", name, problems)
        if field is None or isinstance(field.dataType, NumericType | BooleanType):
            continue
        kind = field.dataType.simpleString()
        way = (
            "put all columns into one Vector by pyspark.ml.feature.VectorAssembler and name that as featuresCol"
            if is_vector(field.dataType) or isinstance(field.dataType, ArrayType)
            else _way_to_number(field.dataType)
        )
        problems.append(f"featuresCols: column {name!r} must be numeric or boolean, but is {kind}; {way}")
    return "columns", tuple(names), len(names)


def _number(schema: StructType, param: str, name: str | None, problems: list[str]) -> StructField | None:
    if name is None:
        return None
    field = _find(schema, param, name, problems)
    if field is not None and not isinstance(field.dataType, NumericType):
        kind = field.dataType.simpleString()
        problems.append(f"{param}: column {name!r} must be numeric, but is {kind}; {_way_to_number(field.dataType)}")
    return field


def _way_to_number(kind: DataType) -> str:
    if isinstance(kind, StringType):
        return "index it by pyspark.ml.feature.StringIndexer, or cast it to double where it holds numbers"
    return "cast it to double, or leave it out"


def _refused_features(name: str, kind: DataType, several: bool) -> str:
    accepted = "must be an ml Vector or an array of numbers"
    if _is_udt(kind, "pyspark.mllib.linalg", "VectorUDT"):
        return (
            f"column {name!r} {accepted}, but is a Vector of the older pyspark.mllib; convert it by "
            f"pyspark.mllib.util.MLUtils.convertVectorColumnsToML(df, {name!r})"
        )
    if isinstance(kind, StructType) and kind.names == ["type", "size", "indices", "values"]:
        # ORC and other formats keep no user-defined types.
        return (
            f"column {name!r} {accepted}, but is the bare struct of a Vector; read it with the schema it was written "
            "with: spark.read.schema(df.schema)"
        )
    way = "assemble numeric columns by pyspark.ml.feature.VectorAssembler"
    if several:
        way = "name numeric columns by featuresCols, or assemble them by pyspark.ml.feature.VectorAssembler"
    if isinstance(kind, NumericType) and several:
        way = f"for a single numeric column use featuresCols=[{name!r}]"
    elif isinstance(kind, ArrayType):
        way = f"cast it to array<double>: F.col({name!r}).cast('array<double>')"
    return f"column {name!r} {accepted}, but is {kind.simpleString()}; {way}"


def is_vector(kind: DataType) -> bool:
    """Tell whether a type is ``pyspark.ml.linalg``'s Vector."""
    return _is_udt(kind, "pyspark.ml.linalg", "VectorUDT")


def _is_udt(kind: DataType, module: str, name: str) -> bool:
    # By name: importing pyspark.mllib would start nothing useful, and the classes are one per module anyway.
    return type(kind).__name__ == name and getattr(type(kind), "module", str)() == module


def _attributes(field: StructField) -> int | None:
    """Return the number of features that a column's ML attributes tell, or None."""
    attributes: Any = (field.metadata or {}).get("ml_attr")
    if not isinstance(attributes, dict):
        return None
    if isinstance(attributes.get("num_attrs"), int):
        return int(attributes["num_attrs"])
    groups = attributes.get("attrs")
    return sum(len(group) for group in groups.values()) if isinstance(groups, dict) else None


def _classes(label: StructField | None) -> int | None:
    """Return the number of classes that the label's ML attributes tell, or None."""
    attributes: Any = ((label.metadata or {}) if label is not None else {}).get("ml_attr")
    if not isinstance(attributes, dict) or attributes.get("type") not in ("nominal", "binary"):
        return None
    if isinstance(attributes.get("num_vals"), int):
        return int(attributes["num_vals"])
    values = attributes.get("vals")
    return len(values) if isinstance(values, list) else (2 if attributes["type"] == "binary" else None)


def element_type(schema: StructType, layout: FrameLayout) -> Literal["float", "double"]:
    """Return the Spark type in which the features reach Python: their own where it is float, else double."""
    kinds = [schema[name].dataType for name in layout.features]
    if layout.kind == "array":
        kinds = [kind.elementType for kind in kinds if isinstance(kind, ArrayType)]
    # Bytes and shorts are exact in float32 as well.
    narrow = layout.kind != "vector" and all(_is_narrow(kind) for kind in kinds)
    return "float" if narrow else "double"


def _is_narrow(kind: DataType) -> bool:
    if isinstance(kind, DoubleType | DecimalType):
        return False
    return isinstance(kind, FloatType | BooleanType) or kind.simpleString() in ("tinyint", "smallint")
